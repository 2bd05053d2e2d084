// The page that a server serves, in Chromium, against that server.
//   node page.js URL KEY             (clients.sh installs playwright-core; CHROMIUM names the browser)
"use strict";
const assert = require("assert");
const {chromium} = require("playwright-core");

const [url, key] = process.argv.slice(2);

(async () => {
  const browser = await chromium.launch({executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"]});
  const page = await browser.newPage();
  const faults = [];
  page.on("pageerror", (e) => faults.push(String(e)));
  page.on("console", (m) => { if (m.type() === "error" && !/status of 401/.test(m.text())) faults.push(m.text()); });
  await page.goto(url + "/");
  await page.waitForFunction(() => document.querySelector("#status").textContent);  // the page asks for a key
  await page.click("#set");
  await page.fill("#s-key", key);
  await page.fill("#s-temperature", "0");
  await page.fill("#s-max_tokens", "12");
  await page.click("#s-close");
  await page.waitForFunction(() => document.querySelectorAll("#model option").length === 3);
  await page.selectOption("#model", "chat");
  const settled = () => page.waitForFunction(() => document.querySelector("#log").getAttribute("aria-busy") === "false");
  const answer = () => page.locator(".turn.assistant .body").last().textContent();
  await page.fill("#text", "Who designed the bridge?");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => (document.querySelector(".turn.assistant .body") || {textContent: ""}).textContent.length > 3);
  await settled();
  const first = await answer();
  assert.match(await page.locator(".turn.assistant .foot").textContent(), /tokens\/s, 12 tokens/);
  await page.locator(".turn.assistant").last().getByText("Retry").click();
  await settled();
  assert.equal(await answer(), first);
  // stop ends the generation at the server
  await page.click("#set");
  await page.fill("#s-max_tokens", "1500");
  await page.click("#s-close");
  await page.fill("#text", "Say it again.");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".turn.assistant").length === 2);
  await page.keyboard.press("Escape");
  await settled();
  for (let i = 0; ; i++) {
    const slots = await (await fetch(url + "/slots", {headers: {Authorization: "Bearer " + key}})).json();
    if (!slots.some((s) => s.is_processing)) break;
    assert.ok(i < 200);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // a model that has no turns to write with says so
  await page.selectOption("#model", "vectors");
  await page.fill("#text", "Hello");
  await page.keyboard.press("Enter");
  await settled();
  assert.match(await page.locator(".fault").last().textContent(), /produces text embeddings/);
  assert.deepEqual(faults.filter((f) => !/status of 400/.test(f)), []);
  await browser.close();
  console.log("the page at the server: ok");
})().catch((e) => { console.error(e); process.exit(1); });
