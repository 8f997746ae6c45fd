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


QUESTION = {"questions": [{"question": "Which?", "header": "H", "multiSelect": False, "options": [
    {"label": "SQLite", "description": "One file"}, {"label": "Postgres", "description": "A server"}]}]}


def wonder():
    """As the real one: the hook first, whose leave is no answer, and then by itself."""
    tool = {"tool_name": "AskUserQuestion", "tool_use_id": "u"}
    answer = ask({"subtype": "hook_callback", "callback_id": "leave", "input": {**tool, "tool_input": QUESTION}})
    send({"said": answer["response"]["hookSpecificOutput"]["permissionDecision"]})
    answer = ask({"subtype": "can_use_tool", **tool, "input": QUESTION})["response"]
    assert answer["behavior"] == "deny" or answer["updatedInput"]["questions"] == QUESTION["questions"], answer
    send({"said": answer["message"] if answer["behavior"] == "deny" else json.dumps(answer["updatedInput"]["answers"])})
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    asked = {"subtype": "elicitation", "mcp_server_name": "house", "message": "Who?", "requested_schema": schema}
    send({"said": json.dumps(ask(asked)["response"])})


def drone():
    """Lines of 12 MB and more, of which one asks for something and one is the end."""
    long = "x" * 12_000_000
    send({"type": "assistant", "message": {"content": [{"type": "text", "text": long}]}})
    answer = ask({"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "ls " + long}, "tool_use_id": "a"})
    send({"said": answer["response"]["behavior"] + " " + answer["response"]["message"]})
    result(result=long)
    receive()


def deaf():
    """Takes up nothing that it is told; with a word, it has another turn all the same."""
    receive()
    result()
    if len(sys.argv) > 2:
        send({"type": "assistant", "message": {"content": [{"type": "text", "text": "more"}]}})
        result()
    receive()


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
    if how == "number":
        send({"said": prompt["uuid"]})
    taken(prompt)
    if how == "wonder":
        wonder()
    elif how == "drone":
        drone()
    elif how == "deaf":
        deaf()
    elif how == "ask":
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
