"""An agent that speaks the Agent Client Protocol and does what its first argument says, well or badly."""

import json
import os
import signal
import sys


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def raw(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def say(text):
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    send({"method": "session/update", "params": {"sessionId": "s", "update": update}})


def receive():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def expect(method):
    message = receive()
    assert message["method"] == method, message
    return message


def ask(identity, method, params):
    send({"id": identity, "method": method, "params": params})
    answer = receive()
    assert answer["id"] == identity, answer
    return answer


def permission(identity, *options):
    options = [{"optionId": name, "name": name, "kind": kind} for name, kind in options]
    call = {"toolCallId": "t", "title": "rm \u001b[31mx"}
    answer = ask(identity, "session/request_permission", {"sessionId": "s", "toolCall": call, "options": options})
    say(json.dumps(answer["result"]["outcome"]))


def work(how, prompt):
    """Does the turn, and gives the reason for its end."""
    if how in ("tell", "resume", "load"):
        say(prompt["params"]["prompt"][0]["text"])
    elif how == "ask":
        permission(0, ("no", "reject_once"), ("ever", "allow_always"), ("once", "allow_once"))
        permission("a", ("no", "reject_once"), ("ever", "allow_always"))
        permission(1e3, ("no", "reject_once"))
        say(json.dumps(ask(9, "session/request_permission", "x")["error"]["code"]))
    elif how == "want":
        send({"method": "made/up", "params": {}})
        send({"method": "$/cancel_request", "params": {"requestId": "prompt-0"}})
        for identity, method in [(7, "fs/read_text_file"), ("x", "terminal/create"), (8, "made/up")]:
            say(str(ask(identity, method, {})["error"]["code"]))
    elif how == "babble":
        raw(b"\n{\n[1,2]\nnull\n\"text\"\n{\"id\":[],\"method\":1}\n\xff\xfe\r\n")
        raw(b'{"id":"prompt-0","result":{"stopReason":"end_turn"},"method":"not/an/answer"}\n')
        assert receive()["id"] == "prompt-0"
        call = b'{"toolCallId":"t","title":"\xff\\ud83d"}'
        options = b'[{"optionId":"once","kind":"allow_once"}]'
        raw(b'{"id":5,"method":"session/request_permission","params":{"toolCall":%s,"options":%s}}\n' % (call, options))
        say(json.dumps(receive()["result"]["outcome"]))
    elif how == "drone":
        long = b"x" * 12_000_000
        raw(b'{"method":"session/update","params":"' + long + b'"}\n')
        say("after it")
        call = b'{"toolCall":{"title":"ls","kind":"execute","rawInput":{"command":"ls ' + long + b'; rm x"}},"options":[]}'
        raw(b'{"id":6,"method":"session/request_permission","params":' + call + b"}\n")
        say(str(receive()["error"]["code"]))
        raw(b'{"result":{"_meta":{"x":"' + long + b'"},"stopReason":"end_turn"},"id":"prompt-0"}\n')
        return None
    elif how == "wonder":
        place = {"type": "string", "enum": ["eu", "us"]}
        schema = {"type": "object", "properties": {"place": place}, "required": ["place"]}
        asked = {"sessionId": "s", "mode": "form", "message": "Where to?", "requestedSchema": schema}
        say(json.dumps(ask(3, "elicitation/create", asked)["result"]))
        say(str(ask(4, "elicitation/create", {"mode": "url", "message": "Log in", "url": "http://a"})["error"]["code"]))
    elif how == "exit":
        sys.stderr.write("it fell over\n")
        sys.exit(3)
    elif how == "leave":
        if os.fork() == 0:
            signal.pause()
        os._exit(4)
    elif how == "wait":
        send({"id": 1, "method": "session/request_permission", "params": {"options": []}})
        say("waiting")
        while True:
            message = receive()
            say(json.dumps(message.get("method") or message))
            if message.get("method") == "session/cancel":
                return "cancelled"
    elif how == "refuse":
        send({"id": prompt["id"], "error": {"code": -32603, "message": "Internal error", "data": {"status": 401}}})
        receive()
    elif how == "deny":
        for identity, command in [(0, "ls"), (1, "cd x && rm -r y")]:
            call = {"toolCallId": "t", "title": "clean up", "kind": "execute", "rawInput": {"command": command}}
            options = [{"optionId": "yes", "kind": "allow_once"}, {"optionId": "no", "kind": "reject_once"}]
            answer = ask(identity, "session/request_permission", {"toolCall": call, "options": options})
            say(json.dumps(answer["result"]["outcome"]))
        return "cancelled"
    elif how == "stay":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return sys.argv[2] if len(sys.argv) > 2 else "end_turn"


def main():
    how = sys.argv[1]
    if how == "mute":
        while True:
            receive()
    greeting = expect("initialize")
    assert greeting["params"]["protocolVersion"] == 1, greeting
    assert greeting["params"]["clientCapabilities"] == {
        "fs": {"readTextFile": False, "writeTextFile": False},
        "terminal": False,
        "elicitation": {"form": {}},
    }, greeting
    able = {"resume": {"loadSession": True, "sessionCapabilities": {"resume": {}}}, "load": {"loadSession": True}}
    able = able.get(how, {})
    send({"id": greeting["id"], "result": {"protocolVersion": 2 if how == "newer" else 1, "agentCapabilities": able}})
    place = expect("session/" + (how if able else "new"))
    if able:
        assert place["params"].pop("sessionId") == "s", place
        say("what was said before") if how == "load" else None
    servers = place["params"].pop("mcpServers")
    assert place["params"] == {"cwd": "/"} and bool(servers) == (how == "tools"), place
    if how == "login":
        send({"id": place["id"], "error": {"code": -32000, "message": "Authentication required"}})
        receive()
    send({"id": place["id"], "result": {} if how == "nowhere" else {"sessionId": "s"}})
    prompt = expect("session/prompt")
    assert prompt["params"]["sessionId"] == "s", prompt
    if how == "tools":
        say(json.dumps(servers))
    reason = work(how, prompt)
    if reason:
        send({"id": prompt["id"], "result": {"stopReason": reason}})
    if how in ("deny", "listen"):
        prompt = expect("session/prompt")
        assert prompt["id"] == "prompt-1", prompt
        say(prompt["params"]["prompt"][0]["text"])
        send({"id": prompt["id"], "result": {"stopReason": "end_turn"}})
    say("and a last word")
    while how == "stay":
        signal.pause()
    receive()


main()
