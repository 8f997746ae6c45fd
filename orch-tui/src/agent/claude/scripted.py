"""A program that speaks stream-json with the control protocol, as Claude Code was seen to, and does what its argument says."""

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


def taken(message):
    send({**message, "isReplay": True})


def result(**more):
    send({"type": "result", "subtype": "success", "is_error": False, **more})


def ask(request):
    send({"type": "control_request", "request_id": "q", "request": request})
    answer = receive()["response"]
    assert answer["request_id"] == "q", answer
    return answer


def hook(command, call):
    given = {"tool_name": "Bash", "tool_input": {"command": command}, "tool_use_id": call, "cwd": "/"}
    answer = ask({"subtype": "hook_callback", "callback_id": "leave", "input": given})
    decided = answer["response"]["hookSpecificOutput"]
    send({"said": decided["permissionDecision"] + " " + decided["permissionDecisionReason"]})


def may(command, call):
    given = {"tool_name": "Bash", "input": {"command": command}, "tool_use_id": call}
    answer = ask({"subtype": "can_use_tool", **given})["response"]
    send({"said": answer["behavior"] + " " + str(answer.get("message"))})


def listen(prompt):
    taken(prompt)
    first = receive()
    send({"heard": first["message"]["content"][0]["text"]})
    taken(first)
    second = receive()
    result()
    # A turn of its own.
    send({"heard": second["message"]["content"][0]["text"]})
    taken(second)
    result()


def main():
    how = sys.argv[1]
    if how == "mute":
        while True:
            receive()
    greeting = receive()
    assert greeting["request"]["subtype"] == "initialize", greeting
    assert bool(greeting["request"]["hooks"]) == (how == "ask"), greeting
    send({"type": "control_response", "response": {"subtype": "success", "request_id": greeting["request_id"]}})
    prompt = receive()
    if how == "listen":
        listen(prompt)
        receive()
    taken(prompt)
    if how == "ask":
        hook("ls", "a")
        hook("rm x", "b")
        may("rm -r y; ls", "a")
        may("rm x", "b")
        send({"said": ask({"subtype": "mcp_message"})["subtype"]})
    elif how == "fail":
        send({"type": "result", "subtype": "success", "is_error": True, "result": "API Error: 400"})
        receive()
    elif how == "exit":
        sys.exit(3)
    elif how == "wait":
        send({"said": "waiting"})
        assert receive()["request"]["subtype"] == "interrupt"
        send({"said": "interrupted"})
        send({"type": "result", "subtype": "error_during_execution", "is_error": True})
        signal.pause()
    send({"type": "assistant", "message": {"content": [{"type": "text", "text": "done"}]}})
    result()
    receive()


main()
