"""An agent that speaks ACP, for what no real one does when it is asked to: what it is told decides what it does."""

import json
import os
import sys
import time

prompts = 0
waiting = {}


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(**fields):
    send({"method": "session/update", "params": {"sessionId": "s-1", "update": fields}})


def say(text, **more):
    update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": text}, **more)


def read():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def end(request, reason="end_turn"):
    usage = {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}
    send({"id": request["id"], "result": {"stopReason": reason, "usage": usage}})


def prompt(request):
    global prompts
    prompts += 1
    blocks = request["params"]["prompt"]
    text = " ".join(block.get("text", block["type"]) for block in blocks)
    word, _, rest = text.partition(" ")
    if word == "echo":
        update(sessionUpdate="agent_thought_chunk", content={"type": "text", "text": "hm"})
        for piece in rest:
            say(piece)
        end(request)
    elif word == "tool":
        call = {"toolCallId": "c-1", "title": "Write a", "kind": "edit", "rawInput": {"path": "a"}}
        update(sessionUpdate="tool_call", status="pending", **call)
        options = [
            {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
            {"optionId": "no", "name": "Reject", "kind": "reject_once"},
        ]
        params = {"sessionId": "s-1", "toolCall": call, "options": options}
        send({"id": "p-1", "method": "session/request_permission", "params": params})
        while True:
            answer = read()
            if answer.get("id") == "p-1":
                break
            if answer.get("method") == "session/cancel":
                waiting["cancelled"] = True
        outcome = answer["result"]["outcome"]
        allowed = outcome.get("optionId") == "yes"
        status = "completed" if allowed else "failed"
        diff = {"type": "diff", "path": "/a", "oldText": None, "newText": "new"}
        update(sessionUpdate="tool_call_update", toolCallId="c-1", status=status, content=[diff])
        say("wrote it" if allowed else f"not allowed ({outcome['outcome']})")
        end(request)
    elif word == "count":
        # So slowly that there is time to kill something in the middle.
        for n in range(int(rest)):
            say(f"{n} ")
            time.sleep(0.01)
        end(request)
    elif word == "wait":
        while read().get("method") != "session/cancel":
            pass
        say("stopped")
        end(request, "cancelled")
    elif word == "deaf":
        say("listening to nobody")
        while True:
            read()
    elif word == "exit":
        say("going")
        sys.stderr.write("the reason it went\n")
        sys.stderr.flush()
        os._exit(3)
    elif word == "refuse":
        send({"id": request["id"], "error": {"code": -32603, "message": "429 slow down"}})
    elif word == "flood":
        sys.stdout.write("x" * 8_000_000 + "\n")
        for _ in range(200_000):
            sys.stdout.write("noise that is no JSON\n")
        sys.stdout.write('{"jsonrpc": "2.0", "broken\n')
        for _ in range(int(rest)):
            say("0123456789" * 100)
        end(request)
    elif word == "told":
        say(json.dumps({"opened": opened, "prompts": prompts, "model": os.environ.get("FAKE_MODEL")}))
        end(request)
    else:
        say(text)
        end(request)


opened = None
sys.stdout.write("a banner that is no JSON\n")
while True:
    request = read()
    method = request.get("method")
    if method == "initialize":
        capabilities = {"loadSession": True, "sessionCapabilities": {"systemPrompt": {}}}
        send({"id": request["id"], "result": {"protocolVersion": 1, "agentCapabilities": capabilities}})
    elif method in ("session/new", "session/load"):
        opened = {"method": method, **request["params"]}
        if method == "session/load":
            say("said again, and heard before")
        send({"id": request["id"], "result": {"sessionId": "s-1"}})
    elif method == "session/prompt":
        prompt(request)
    elif "id" in request and method:
        send({"id": request["id"], "error": {"code": -32601, "message": "no such method"}})
