#!/usr/bin/env python3
"""A model on loopback that costs nothing and says the same each time, for coding agents to talk to while they are
recorded. Speaks what they speak, streamed: Anthropic's /v1/messages, OpenAI's /v1/responses and
/v1/chat/completions, Gemini's streamGenerateContent.

    gateway.py      listens on a free port of loopback and prints it

The last thing the user said decides: with "command" in it, the model wants to run one; anything else is answered
with a page of Markdown, piece by piece.
"""

import json
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE_SECONDS = 0.04
REPLY = """# What this project does

It keeps **terminals** of *coding agents* alive while nobody looks at them, and shows `exactly` what is on them.

- One keeper in every sandbox holds the screen, 漢字 and émoji 🚀 👨‍👩‍👧 included.
- A server serves any number of viewers; see [the protocol](https://example.org/attach-protocol).
  1. Nothing is lost,
  2. nothing is sent twice.

| part | lines | tested by |
|------|------:|-----------|
| wire | 2,100 | fuzzing, property tests |
| vt | 7,300 | recordings like this one, 日本語のテキスト |

```rust
/// The sum of what is even.
fn even_sum(numbers: &[u64]) -> Option<u64> {
    let mut sum: u64 = 0;
    for n in numbers.iter().filter(|n| *n % 2 == 0) {
        sum = sum.checked_add(*n)?; // never wraps silently
    }
    Some(sum)
}
```

> A snapshot and the rest of the stream make the same terminal.

```diff
- let screen = guess(bytes);
+ let screen = model.snapshot(usize::MAX);
```

That is all there is to say.
"""
AFTER = "The command has run: **three files**, all tests pass. ✅\n\nNothing else to do.\n"
COMMAND = "touch done; printf '\\033[32mok\\033[0m test %d\\n' 1 2 3; ls"
SHELLS = {
    "Bash": {"command": COMMAND, "description": "Run the tests"},
    "bash": {"command": COMMAND, "description": "Run the tests"},
    "exec_command": {"cmd": COMMAND, "sandbox_permissions": "require_escalated", "justification": "Run the tests?"},
    "shell_command": {"command": COMMAND},
    "shell": {"command": ["sh", "-c", COMMAND]},
    "run_shell_command": {"command": COMMAND, "description": "Run the tests"},
}


def text_of(content):
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or "" for part in content or [] if isinstance(part, dict))


def said(words, tools, tool_has_run):
    """What the model says: words, and a call of a tool or none."""
    # An agent wraps what the user typed in reminders of its own.
    words = re.sub(r"(?s)<([a-z_-]+)>.*?</\1>", "", words)
    shell = next((name for name in SHELLS if name in tools), None)
    if tool_has_run:
        return AFTER, None
    if not shell:
        return "A conversation about a project", None
    if "command" in words:
        return "I run the tests.", (shell, SHELLS[shell])
    return REPLY, None


def pieces(text):
    return re.findall(r"(?s).{1,24}", text)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def begin(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, text):
        body = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        self.wfile.flush()

    def event(self, value, name=None):
        self.chunk((f"event: {name}\n" if name else "") + f"data: {json.dumps(value)}\n\n")

    def end(self):
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def do_HEAD(self):
        self.answer({})

    def do_GET(self):
        self.answer({"object": "list", "data": [], "models": []})

    def body(self):
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        data = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_POST(self):
        try:
            request = json.loads(self.body() or b"{}")
        except ValueError:  # compressed telemetry
            return self.answer({})
        path = self.path.split("?")[0]
        try:
            if path.endswith("/messages"):
                self.anthropic(request)
            elif path.endswith("/responses"):
                self.openai_responses(request)
            elif path.endswith("/chat/completions"):
                self.chat(request)
            elif "enerateContent" in path:
                self.gemini(request, "stream" in path)
            else:
                self.answer({"input_tokens": 42, "totalTokens": 42})
        except (BrokenPipeError, ConnectionResetError):
            pass

    def anthropic(self, request):
        words, ran = "", False
        for message in request.get("messages", []):
            if message["role"] != "user":
                continue
            parts = message["content"] if isinstance(message["content"], list) else []
            if any(part.get("type") == "tool_result" for part in parts):
                ran = True
            else:
                words, ran = text_of(message["content"]), False
        text, call = said(words, {tool["name"] for tool in request.get("tools", [])}, ran)
        usage = {"input_tokens": 1200, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": request.get("model"), "content": [],
                   "stop_reason": None, "stop_sequence": None, "usage": usage}
        if not request.get("stream"):
            return self.answer({**message, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"})
        self.begin()
        self.event({"type": "message_start", "message": message}, "message_start")
        blocks = [({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(text)])]
        if call:
            use = {"type": "tool_use", "id": f"toolu_{time.time_ns()}", "name": call[0], "input": {}}
            blocks.append((use, [{"type": "input_json_delta", "partial_json": json.dumps(call[1])}]))
        for index, (block, deltas) in enumerate(blocks):
            self.event({"type": "content_block_start", "index": index, "content_block": block}, "content_block_start")
            for delta in deltas:
                time.sleep(PIECE_SECONDS)
                self.event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")
            self.event({"type": "content_block_stop", "index": index}, "content_block_stop")
        stop = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
        self.event({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 345}}, "message_delta")
        self.event({"type": "message_stop"}, "message_stop")
        self.end()

    def chat(self, request):
        words, ran = "", False
        for message in request.get("messages", []):
            if message["role"] == "user":
                words, ran = text_of(message["content"]), False
            ran = ran or message["role"] == "tool"
        text, call = said(words, {tool["function"]["name"] for tool in request.get("tools", [])}, ran)
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": request.get("model")}
        usage = {"prompt_tokens": 1200, "completion_tokens": 345, "total_tokens": 1545}

        def choice(delta, why=None):
            self.event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": why}]})

        self.begin()
        for piece in pieces(text):
            time.sleep(PIECE_SECONDS)
            choice({"role": "assistant", "content": piece})
        if call:
            function = {"name": call[0], "arguments": json.dumps(call[1])}
            identity = f"call_{time.time_ns()}"
            choice({"tool_calls": [{"index": 0, "id": identity, "type": "function", "function": function}]})
        choice({}, "tool_calls" if call else "stop")
        self.event({**base, "choices": [], "usage": usage})
        self.chunk("data: [DONE]\n\n")
        self.end()

    def openai_responses(self, request):
        words, ran = "", False
        for item in request.get("input", []):
            if item.get("role") == "user":
                words, ran = text_of(item.get("content")), False
            ran = ran or item.get("type", "").endswith("call_output")
        text, call = said(words, {tool.get("name") for tool in request.get("tools", [])}, ran)
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        usage = {"input_tokens": 1200, "output_tokens": 345, "total_tokens": 1545, **details}
        response = {"id": f"resp_{time.time_ns()}", "object": "response", "created_at": 0, "status": "in_progress",
                    "model": request.get("model"), "output": []}
        count = 0

        def event(kind, **fields):
            nonlocal count
            self.event({"type": kind, "sequence_number": count, **fields}, kind)
            count += 1

        self.begin()
        event("response.created", response=response)
        item = {"type": "message", "id": f"msg_{time.time_ns()}", "role": "assistant", "status": "in_progress",
                "content": []}
        at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        event("response.output_item.added", output_index=0, item=item)
        event("response.content_part.added", **at, part={"type": "output_text", "text": "", "annotations": []})
        for piece in pieces(text):
            time.sleep(PIECE_SECONDS)
            event("response.output_text.delta", **at, delta=piece)
        event("response.output_text.done", **at, text=text)
        content = [{"type": "output_text", "text": text, "annotations": []}]
        output = [{**item, "status": "completed", "content": content}]
        event("response.output_item.done", output_index=0, item=output[0])
        if call:
            arguments = json.dumps(call[1])
            item = {"type": "function_call", "id": f"fc_{time.time_ns()}", "call_id": f"call_{time.time_ns()}",
                    "name": call[0], "arguments": arguments, "status": "completed"}
            event("response.output_item.added", output_index=1, item={**item, "arguments": "", "status": "in_progress"})
            event("response.function_call_arguments.delta", item_id=item["id"], output_index=1, delta=arguments)
            event("response.function_call_arguments.done", item_id=item["id"], output_index=1, arguments=arguments)
            event("response.output_item.done", output_index=1, item=item)
            output.append(item)
        event("response.completed", response={**response, "status": "completed", "output": output, "usage": usage})
        self.end()

    def gemini(self, request, stream):
        words, ran = "", False
        for content in request.get("contents", []):
            if content.get("role", "user") != "user":
                continue
            if any("functionResponse" in part for part in content["parts"]):
                ran = True
            else:
                words, ran = text_of(content["parts"]), False
        tools = {f["name"] for tool in request.get("tools", []) for f in tool.get("functionDeclarations", [])}
        text, call = said(words, tools, ran)
        if "json" in str(request.get("generationConfig", {}).get("responseMimeType")):
            text, call = json.dumps({"next_speaker": "user", "reasoning": "-", "model_choice": "flash",
                                     "complexity_reasoning": "-", "complexity_score": 1}), None
        usage = {"promptTokenCount": 1200, "candidatesTokenCount": 345, "totalTokenCount": 1545}

        def response(part, why=None):
            candidate = {"content": {"role": "model", "parts": [part]}, "index": 0}
            return {"candidates": [{**candidate, **({"finishReason": why} if why else {})}], "usageMetadata": usage}

        if not stream:
            return self.answer(response({"text": text}, "STOP"))
        self.begin()
        for piece in pieces(text):
            time.sleep(PIECE_SECONDS)
            self.event(response({"text": piece}))
        if call:
            self.event(response({"functionCall": {"name": call[0], "args": call[1]}, "thoughtSignature": "c2ln"}))
        self.event(response({"text": ""}, "STOP"))
        self.end()


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
