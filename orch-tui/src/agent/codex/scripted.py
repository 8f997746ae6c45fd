"""A program that speaks as `codex app-server` was seen to, and does what its argument says."""

import json
import signal
import sys


def send(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def receive():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def expect(method):
    message = receive()
    assert message["method"] == method, message
    return message


def say(text):
    send({"said": text})


def item(method, **of):
    send({"method": "item/" + method, "params": {"threadId": "T", "turnId": "U", "item": of}})


def end(status="completed", **more):
    send({"method": "turn/completed", "params": {"threadId": "T", "turn": {"id": "U", "status": status, **more}}})


def ask(identity, method, refused=False, **params):
    send({"id": identity, "method": method, "params": {"threadId": "T", "turnId": "U", **params}})
    answer = receive()
    if answer.get("method") == "turn/steer":
        # Why comes before that.
        assert answer["params"]["expectedTurnId"] == "U", answer
        say(answer["params"]["input"][0]["text"])
        send({"id": answer["id"], "result": {"turnId": "U"}})
        answer = receive()
    assert answer["id"] == identity, answer
    if "error" in answer:
        say(str(answer["error"]["code"]))
    elif "answers" in answer["result"] or "content" in answer["result"]:
        say(json.dumps(answer["result"]))
    else:
        say(answer["result"].get("decision") or answer["result"]["action"])


def asks():
    ask(0, "item/commandExecution/requestApproval", itemId="a", command="/bin/bash -lc 'ls'", cwd="/")
    ask(1, "item/commandExecution/requestApproval", itemId="b", command="/bin/bash -lc 'ls; rm -r x'", cwd="/")
    for identity, path in [(2, "/w/a"), (3, "/etc/a")]:
        changes = [{"path": path, "kind": {"type": "add"}, "diff": "x"}]
        item("started", type="fileChange", id="c%d" % identity, changes=changes)
        ask(identity, "item/fileChange/requestApproval", itemId="c%d" % identity)
    meta = {"codex_approval_kind": "mcp_tool_call", "tool_name": "note", "tool_params": {}}
    ask(4, "mcpServer/elicitation/request", serverName="house", _meta=meta)
    ask(5, "item/tool/call", tool="x")


def wonders():
    options = [{"label": "SQLite", "description": "One file"}, {"label": "Postgres", "description": "A server"}]
    question = {"id": "db", "header": "H", "question": "Which?", "options": options, "isOther": False, "isSecret": False}
    ask(0, "item/tool/requestUserInput", itemId="a", isBlocking=True, questions=[question])
    ask(1, "item/tool/requestUserInput", itemId="b", isBlocking=True, questions=[{**question, "isSecret": True}])
    schema = {"type": "object", "properties": {"port": {"type": "integer"}, "on": {"type": "boolean"}}}
    ask(2, "mcpServer/elicitation/request", serverName="house", message="How?", requestedSchema=schema)


def drone():
    """Lines of 12 MB, of which one asks for something and one is the end."""
    long = "x" * 12_000_000
    item("completed", type="agentMessage", id="m", text=long)
    ask(0, "item/commandExecution/requestApproval", itemId="a", command="ls " + long, cwd="/")
    end(items=[{"text": long}])


def hide():
    """Changes of 14 MB, whose last file is not in what is left of them; the second had another one in its place before."""
    known = [{"path": "/w/a", "kind": {"type": "add"}, "diff": "x"}]
    for identity in ["c1", "c2"]:
        item("started", type="fileChange", id=identity, changes=known)
    many = [{"path": "/w/%d" % at, "kind": {"type": "add"}, "diff": "x" * 100} for at in range(90_000)]
    many.append({"path": "/etc/a", "kind": {"type": "add"}, "diff": "x"})
    for identity in ["c0", "c1"]:
        item("started", type="fileChange", id=identity, changes=many)
    for number in range(3):
        ask(number, "item/fileChange/requestApproval", itemId="c%d" % number)


def listen():
    for word in ["first", "second"]:
        steer = expect("turn/steer")
        text = steer["params"]["input"][0]["text"]
        assert text.endswith(word), text
        send({"heard": word})
        if word == "first":
            send({"id": steer["id"], "result": {"turnId": "U"}})
            item("started", type="userMessage", id="m", clientId=steer["params"]["clientUserMessageId"])
        else:
            send({"id": steer["id"], "error": {"code": -32600, "message": "no active turn"}})
    end()
    again = expect("turn/start")
    send({"id": again["id"], "result": {"turn": {"id": "U"}}})
    send({"heard": "again " + again["params"]["input"][0]["text"].split()[-1]})


def main():
    how = sys.argv[1]
    if how == "mute":
        while True:
            receive()
    send({"id": expect("initialize")["id"], "result": {"userAgent": "x"}})
    expect("initialized")
    thread = expect("thread/resume" if how in ("resume", "forgot") else "thread/start")
    if how == "forgot":
        send({"id": thread["id"], "error": {"code": -32600, "message": "no rollout found"}})
        receive()
    if how == "refuse":
        send({"id": thread["id"], "error": {"code": -32600, "message": "no such model"}})
        receive()
    send({"id": thread["id"], "result": {"thread": {"id": "T"}}})
    params = thread["params"]
    if how == "resume":
        assert params["threadId"] == "T" and params["excludeTurns"] is True, params
    say(" ".join([params["approvalPolicy"], params["sandbox"], params["cwd"]]))
    turn = expect("turn/start")
    send({"id": turn["id"], "result": {"turn": {"id": "U"}}})
    if how == "listen":
        listen()
    else:
        say(turn["params"]["input"][0]["text"])
    if how == "ask":
        asks()
    elif how == "wonder":
        wonders()
    elif how == "drone":
        drone()
        receive()
    elif how == "hide":
        hide()
    elif how == "fail":
        end("failed", error={"message": "the model is away"})
        receive()
    elif how == "exit":
        sys.exit(3)
    elif how == "wait":
        say("waiting")
        say(receive()["method"])
        end("interrupted")
        signal.pause()
    end()
    receive()


main()
