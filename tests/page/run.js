// The server's web page in Chromium, against fake_server.js.
//   NODE_PATH=FOLDER/node_modules node tests/page/run.js [FOLDER FOR SCREENSHOTS]
// needs the npm package playwright-core and a Chromium (CHROMIUM names it; /usr/bin/chromium otherwise).
"use strict";
const assert = require("assert");
const fs = require("fs");
const path = require("path");
const {chromium} = require("playwright-core");
const {start} = require("./fake_server.js");

const shots = process.argv[2];
const CHROMIUM = process.env.CHROMIUM || "/usr/bin/chromium";

let browser;
/** A page of its own in a context of its own, with what went wrong in it. */
async function visit(server, options = {}) {
  const context = await browser.newContext({viewport: {width: 1280, height: 800}, ...options});
  const page = await context.newPage();
  page.faults = [];
  page.on("pageerror", (e) => page.faults.push(String(e)));
  page.on("console", (m) => { if (m.type() === "error" && !/status of (400|401)/.test(m.text())) page.faults.push(m.text()); });
  await page.goto(server.url);
  await page.waitForFunction(() => document.querySelectorAll("#model option").length === 2 || document.querySelector("#status").textContent);
  return page;
}
async function ask(page, text) {
  await page.fill("#text", text);
  await page.keyboard.press("Enter");
}
const settled = (page) => page.waitForFunction(() => document.querySelector("#log").getAttribute("aria-busy") === "false");
const answer = (page) => page.locator(".turn.assistant .body").last();

const tests = {
  async "Markdown becomes elements, thoughts are folded"(server) {
    const page = await visit(server);
    await ask(page, "hello");
    await settled(page);
    const body = answer(page);
    assert.equal(await body.locator("h3").textContent(), "A title");
    assert.equal(await body.locator("strong").textContent(), "bold");
    assert.equal(await body.locator("em").textContent(), "slanted");
    assert.deepEqual(await body.locator("ol > li").count(), 2);
    assert.equal(await body.locator("ol ul li").textContent(), "inner");
    assert.equal(await body.locator("td").first().textContent(), "1");
    assert.equal(await body.locator("pre code").textContent(), "int main() { return 0; }");
    assert.deepEqual(await body.locator("a").evaluateAll((l) => l.map((a) => a.href)), ["https://example.org/", "https://example.org/x"]);
    assert.equal(await body.locator("details").evaluate((d) => d.open), false);
    assert.equal(await body.locator("details div").textContent(), "I think.");
    assert.match(await page.locator(".turn.assistant .foot").textContent(), /tokens\/s, \d+ tokens/);
    const request = server.requests.at(-1);
    assert.equal(request.model, "tiny");
    assert.equal(request.stream_options.include_usage, true);
    assert.deepEqual(request.messages, [{role: "user", content: "hello"}]);
    return page;
  },
  async "no markup of an answer runs"(server) {
    const page = await visit(server);
    await ask(page, "hostile");
    await settled(page);
    await page.waitForTimeout(300);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    assert.equal(await answer(page).locator("script, img, iframe, b").count(), 0);
    assert.equal(await answer(page).locator("a").count(), 0);
    assert.match(await answer(page).locator("p").first().textContent(), /<script>window\.pwned = 1<\/script>/);
    await ask(page, "<img src=x onerror=window.pwned=1>");  // echoed, and the title of another conversation
    await settled(page);
    await page.click("#new");
    await ask(page, "<script>window.pwned=1</script>");
    await settled(page);
    await page.reload();
    await page.waitForTimeout(200);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    // the policy itself: a script that was injected nevertheless does not run
    await page.evaluate(() => { const s = document.createElement("script"); s.textContent = "window.pwned = 1"; document.body.append(s); });
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    page.faults = page.faults.filter((f) => !/Content Security Policy/.test(f));
    return page;
  },
  async "no way of writing a link or markup runs"(server) {
    const page = await visit(server);
    const bad = ["[a](javascript:window.pwned=1)", "[a](JaVaScRiPt:window.pwned=1)", "[a](data:text/html,<script>parent.pwned=1</script>)",
      "[a](vbscript:x)", "[a]( javascript:x )", "[a](&#106;avascript:x)", "![a](x)", "<svg onload=window.pwned=1>", "<svg/onload=window.pwned=1>",
      "<a href=javascript:window.pwned=1>a</a>", "<math><mtext><img src=x onerror=window.pwned=1>", "</div><script>window.pwned=1</script>",
      "`<img src=x onerror=window.pwned=1>`", "> <img src=x onerror=window.pwned=1>", "- <img src=x onerror=window.pwned=1>",
      "# <img src=x onerror=window.pwned=1>", "```<img onerror=window.pwned=1>\n</code></pre><script>window.pwned=1</script>\n```"];
    await ask(page, "raw:" + bad.join("\n\n"));
    await settled(page);
    await page.waitForTimeout(300);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    assert.equal(await answer(page).locator("a, img, svg, math, script").count(), 0);
    await ask(page, "raw:[a](https://example.org/\"onmouseover=window.pwned=1) https://example.org/<script>");
    await settled(page);
    assert.deepEqual(await answer(page).locator("a").evaluateAll((l) => l.map((a) => a.getAttributeNames().sort().join())),
      ["href,rel,target", "href,rel,target"]);
    return page;
  },
  async "code stands where it belongs"(server) {
    const page = await visit(server);
    await ask(page, "raw:````md\n```python\nx\n```\n````\n\n```md\n```python\ny\n```\n\n1. first\n   ```sh\n   ls\n     -l\n   ```\n2. second ```a```\n\n```\nopen");
    await settled(page);
    assert.deepEqual(await answer(page).locator("pre code").allTextContents(), ["```python\nx\n```", "```python\ny", "ls\n  -l", "open"]);
    assert.equal(await answer(page).locator("ol > li").count(), 2);
    assert.equal(await answer(page).locator("ol > li").first().locator("pre").count(), 1);
    return page;
  },
  async "long lines take no time"(server) {
    const page = await visit(server);
    for (const part of ["x " + "`".repeat(9000), "[".repeat(19000), "*a".repeat(9000), "**a ".repeat(5001), "~~".repeat(9000), "x".repeat(1000000),
      "`a``b".repeat(4000), "> ".repeat(5000), "http://".repeat(2500), "```" + "a".repeat(100000) + "`", "~".repeat(50000) + "`", "| a ".repeat(3000) + "|\n" + "| - ".repeat(3000) + "|", "- ".repeat(5000)]) {
      const began = Date.now();
      await ask(page, "raw:" + part);
      await settled(page);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= 1280, part.slice(0, 20));
      assert.ok(Date.now() - began < 5000, `${Date.now() - began} ms for ${part.slice(0, 20)}`);
      await page.click("#new");
    }
    return page;
  },
  async "stop leaves what came, the server notices"(server) {
    const page = await visit(server);
    const before = server.aborted();
    await ask(page, "slow");
    await page.waitForFunction(() => (document.querySelector(".turn.assistant .body") || {}).textContent.length > 20);
    assert.match(await page.locator("#status").textContent(), /tokens\/s/);
    await page.keyboard.press("Escape");
    await settled(page);
    assert.match(await answer(page).textContent(), /^word word/);
    assert.match(await page.locator(".turn.assistant .foot").textContent(), /stopped/);
    await page.waitForTimeout(200);
    assert.equal(server.aborted(), before + 1);
    return page;
  },
  async "edit and retry ask again from there"(server) {
    const page = await visit(server);
    await ask(page, "one");
    await settled(page);
    await ask(page, "two");
    await settled(page);
    await page.locator(".turn.assistant").last().getByText("Retry").click();
    await settled(page);
    assert.deepEqual(server.requests.at(-1).messages.map((m) => m.content), ["one", "You said: one", "two"]);
    await page.locator(".turn.user").first().getByText("Edit").click();
    await page.getByLabel("Edit the message").fill("three");
    await page.getByText("Send again").click();
    await settled(page);
    assert.deepEqual(server.requests.at(-1).messages, [{role: "user", content: "three"}]);
    assert.equal(await page.locator(".turn").count(), 2);
    return page;
  },
  async "conversations and settings stay in the browser"(server) {
    const page = await visit(server);
    await page.click("#set");
    await page.fill("#s-system", "Be brief.");
    await page.fill("#s-temperature", "0.5");
    await page.fill("#s-max_tokens", "7");
    await page.check("#s-think");
    await page.click("#s-close");
    await page.selectOption("#model", "large");
    await ask(page, "first");
    await settled(page);
    const request = server.requests.at(-1);
    assert.deepEqual(request.messages[0], {role: "system", content: "Be brief."});
    assert.equal(request.temperature, 0.5);
    assert.equal(request.max_tokens, 7);
    assert.equal(request.top_p, undefined);
    assert.deepEqual(request.chat_template_kwargs, {enable_thinking: true});
    assert.equal(request.model, "large");
    await page.click("#new");
    await ask(page, "second");
    await settled(page);
    await page.reload();
    assert.deepEqual(await page.locator("#chats .open").allTextContents(), ["second", "first"]);
    await page.getByText("first", {exact: true}).click();
    assert.equal(await answer(page).textContent(), "You said: first");
    await page.waitForFunction(() => document.querySelector("#model").value === "large");
    page.on("dialog", (d) => d.accept());
    await page.getByLabel("Delete: first").click();
    assert.deepEqual(await page.locator("#chats .open").allTextContents(), ["second"]);
    return page;
  },
  async "errors are shown"(server) {
    const page = await visit(server);
    await ask(page, "refuse");
    await settled(page);
    assert.equal(await page.locator(".fault").last().textContent(), "this is refused");
    await ask(page, "fail");
    await settled(page);
    assert.equal(await page.locator(".fault").last().textContent(), "the model broke");
    assert.match(await answer(page).textContent(), /^You said/);
    return page;
  },
  async "an API key"() {
    const server = await start("secret");
    const page = await visit(server);
    assert.match(await page.locator("#status").textContent(), /wrong key/);
    await page.click("#set");
    await page.fill("#s-key", "secret");
    await page.click("#s-close");
    await page.waitForFunction(() => document.querySelectorAll("#model option").length === 2);
    await ask(page, "hi");
    await settled(page);
    assert.equal(await answer(page).textContent(), "You said: hi");
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes("secret")), false);
    server.close();
    return page;
  },
  async "keyboard alone"(server) {
    const page = await visit(server);
    assert.equal(await page.evaluate(() => document.activeElement.id), "text");
    await page.keyboard.type("typed");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("lines");
    await page.keyboard.press("Enter");
    await settled(page);
    assert.equal(server.requests.at(-1).messages[0].content, "typed\nlines");
    const seen = [];
    for (let i = 0; i < 30; i++) {
      await page.keyboard.press("Tab");
      seen.push(await page.evaluate(() => { const e = document.activeElement; return e.id || e.getAttribute("aria-label") || e.textContent; }));
    }
    for (const wanted of ["new", "model", "set", "log", "Edit", "Copy", "Retry", "text", "send"]) assert.ok(seen.includes(wanted), wanted + " of " + seen);
    // every control has a name
    const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, textarea")].filter((e) =>
      !(e.getAttribute("aria-label") || (e.labels && e.labels.length) || e.textContent.trim())).map((e) => e.outerHTML));
    assert.deepEqual(nameless, []);
    await page.focus("#set");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.querySelector("#settings").open), true);
    await page.keyboard.press("Escape");
    assert.equal(await page.evaluate(() => document.querySelector("#settings").open), false);
    assert.equal(await page.evaluate(() => document.activeElement.id), "set");
    return page;
  },
  async "a phone, and the dark"(server) {
    let last;
    for (const [width, height] of [[1280, 800], [390, 844]]) {
      for (const colorScheme of ["light", "dark"]) {
        const page = last = await visit(server, {viewport: {width, height}, colorScheme});
        await ask(page, "hello");
        await settled(page);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= width, `${wide} pixels on a screen of ${width}`);
        if (shots) await page.screenshot({path: path.join(shots, `page-${width}-${colorScheme}.png`)});
        if (width < 700) {
          assert.equal(await page.locator("#side").isVisible(), false);
          await page.click("#menu");
          assert.equal(await page.locator("#side").isVisible(), true);
          assert.equal(await page.locator("#menu").getAttribute("aria-expanded"), "true");
          if (shots) await page.screenshot({path: path.join(shots, `page-${width}-${colorScheme}-chats.png`)});
          await page.click("#new");
          assert.equal(await page.locator("#side").isVisible(), false);
        }
        await page.click("#set");
        if (shots) await page.screenshot({path: path.join(shots, `page-${width}-${colorScheme}-settings.png`)});
      }
    }
    return last;
  },
};

(async () => {
  if (shots) fs.mkdirSync(shots, {recursive: true});
  browser = await chromium.launch({executablePath: CHROMIUM, args: ["--no-sandbox"]});
  const server = await start();
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    let page;
    try {
      page = await test(server);
      assert.deepEqual(page.faults, []);
      console.log("ok      " + name);
    } catch (e) {
      failed++;
      console.log("FAILED  " + name + "\n" + e.stack);
    }
    if (page) await page.context().close();
  }
  server.close();
  await browser.close();
  process.exit(failed ? 1 : 0);
})();
