// A server that answers as gemma-server would, without a model: what it says follows from the last message.
//   hello          an answer in Markdown, with a thought before it
//   hostile        an answer full of markup and scripts
//   slow           one token each 50 ms, 200 of them
//   fail           an error in the middle of the stream
//   refuse         400 with an error in OpenAI's form
//   raw:TEXT       TEXT
//   anything else  the message, echoed
"use strict";
const fs = require("fs");
const http = require("http");
const path = require("path");

const PAGE = path.join(__dirname, "..", "..", "examples", "server", "page.html");

const HELLO = `# A title

Some **bold**, *slanted*, \`code\` and [a link](https://example.org/), also a bare https://example.org/x.

1. first
2. second
   - inner

> quoted

| a | b |
| - | - |
| 1 | 2 |

\`\`\`cpp
int main() { return 0; }
\`\`\`
`;
const HOSTILE = `<script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">
[click](javascript:window.pwned=1) **<b onmouseover=window.pwned=1>bold</b>**

| <script>window.pwned=1</script> | b |
| - | - |
| <iframe srcdoc="<script>parent.pwned=1</script>"></iframe> | 2 |

\`\`\`html
<script>window.pwned = 1</script>
\`\`\`
`;

/** Starts it; resolves to {url, requests, aborted(), close()}. */
function start(key) {
  const requests = [];
  let aborted = 0;
  const send = (response, status, value) => {
    response.writeHead(status, {"Content-Type": "application/json"});
    response.end(JSON.stringify(value));
  };
  const chat = (body, response) => {
    requests.push(body);
    const said = body.messages[body.messages.length - 1].content;
    if (said === "refuse") return send(response, 400, {error: {message: "this is refused", type: "invalid_request_error"}});
    response.writeHead(200, {"Content-Type": "text/event-stream"});
    const event = (value) => response.write("data: " + (typeof value === "string" ? value : JSON.stringify(value)) + "\n\n");
    const delta = (d, reason = null) => event({id: "x", object: "chat.completion.chunk", model: body.model, choices: [{index: 0, delta: d, finish_reason: reason}]});
    const text = said === "hello" ? HELLO : said === "hostile" ? HOSTILE : said === "slow" ? "word ".repeat(200) : said.startsWith("raw:") ? said.slice(4) : "You said: " + said;
    const parts = text.length > 5000 ? [text] : text.match(/[\s\S]{1,5}/g);
    const wait = said === "slow" ? 50 : 2;
    delta({role: "assistant"});
    if (said === "hello") ["I ", "think."].forEach((t) => delta({reasoning_content: t}));
    let i = 0;
    let timer = null;
    const step = () => {
      if (said === "fail" && i === 2) {
        event({error: {message: "the model broke", type: "server_error"}});
        return response.end();
      }
      if (i < parts.length) {
        delta({content: parts[i++]});
        timer = setTimeout(step, wait);
        return undefined;
      }
      delta({}, "stop");
      event({id: "x", choices: [], usage: {prompt_tokens: 3, completion_tokens: parts.length, total_tokens: parts.length + 3}});
      event("[DONE]");
      return response.end();
    };
    response.on("close", () => {
      clearTimeout(timer);
      if (!response.writableFinished) aborted++;
    });
    return step();
  };
  const server = http.createServer((request, response) => {
    if (request.url === "/") {
      response.writeHead(200, {"Content-Type": "text/html; charset=utf-8"});
      return response.end(fs.readFileSync(PAGE));
    }
    if (key && request.headers.authorization !== "Bearer " + key) return send(response, 401, {error: {message: "a wrong key"}});
    if (request.url === "/v1/models") return send(response, 200, {object: "list", data: [{id: "tiny"}, {id: "large"}]});
    let body = "";
    request.on("data", (part) => { body += part; });
    request.on("end", () => (request.url === "/v1/chat/completions" ? chat(JSON.parse(body), response) : send(response, 404, {error: {message: "no route"}})));
    return undefined;
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve({url: `http://127.0.0.1:${server.address().port}/`, requests, aborted: () => aborted,
      close: () => { server.closeAllConnections(); server.close(); }}));
  });
}

module.exports = {start};
if (require.main === module) start(process.argv[2]).then((s) => console.log(s.url));
