// Looks at the dashboard in a headless Chromium, as a person would, and tells as JSON what it saw.
// Arguments: the address with its token, the saved report, a folder for screenshots.
const { chromium } = require("playwright-core");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

async function watched(browser, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const seen = { errors: [], hosts: [] };
  page.on("console", (m) => { if (m.type() !== "log") seen.errors.push(m.text()); });
  page.on("pageerror", (e) => seen.errors.push(String(e)));
  page.on("request", (r) => { const u = new URL(r.url()); if (u.protocol !== "data:") seen.hosts.push(u.protocol === "file:" ? "file" : u.host); });
  return { page, seen, context };
}

const text = (page, selector) => page.locator(selector).innerText();

// Every control has a name that a screen reader can say.
const nameless = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll("button, select, input, svg[role=img], table")]
      .filter((e) => e.offsetParent !== null || e instanceof SVGElement)
      .filter((e) => !(e.getAttribute("aria-label") || e.labels?.length || e.innerText?.trim() || e.closest("[aria-labelledby]")))
      .map((e) => e.outerHTML.slice(0, 80)),
  );

const wide = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

async function axes(page) {
  return {
    x: await page.locator("#chart .title-x").textContent(),
    y: await page.locator("#chart .title-y").textContent(),
    ticksX: await page.locator("#chart .tick-x").allTextContents(),
    ticksY: await page.locator("#chart .tick-y").allTextContents(),
  };
}

(async () => {
  const [url, report, folder] = process.argv.slice(2);
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: FLAGS });
  const out = { shots: [] };
  for (const [width, height, colorScheme] of [[1280, 900, "light"], [390, 844, "dark"]]) {
    const { page, seen, context } = await watched(browser, { viewport: { width, height }, colorScheme });
    await page.goto(url);
    await page.waitForSelector("#fleet-body tr");
    await page.waitForSelector("#chart svg");
    await page.screenshot({ path: `${folder}/dashboard-${width}.png`, fullPage: true });
    out.shots.push({ width, overflow: await wide(page), nameless: await nameless(page), background: await page.evaluate(() => getComputedStyle(document.body).backgroundColor), ...seen });
    await context.close();
  }
  const { page, seen } = await watched(browser, { viewport: { width: 1280, height: 900 } });
  await page.goto(url);
  await page.waitForSelector("#fleet-body tr");
  await page.waitForSelector("#chart svg");
  out.address = page.url();
  out.tiles = { databases: await text(page, "#t-databases"), alerts: await text(page, "#t-alerts"), rows: await text(page, "#t-rows"), backups: await text(page, "#t-backup") };
  out.fleet = await page.locator("#fleet-body tr").evaluateAll((rows) => rows.map((r) => [...r.children].map((c) => c.innerText.trim())));
  out.axes = await axes(page);
  await page.selectOption("#metric", "storage_used");
  await page.waitForFunction(() => document.querySelector("#chart .title-y")?.textContent.startsWith("Size"));
  out.axesOfSize = await axes(page);
  // By keyboard: the button of the first column sorts.
  await page.locator("#fleet-head button").first().focus();
  await page.keyboard.press("Enter");
  out.sorted = await page.locator("#fleet-body tr th").allInnerTexts();
  out.ariaSort = await page.locator("#fleet-head th").first().getAttribute("aria-sort");
  await page.locator("#fleet-head button").first().blur();
  await page.fill("#filter", "moni");
  await page.waitForFunction(() => document.querySelectorAll("#fleet-body tr").length === 2);
  out.found = await page.locator("#fleet-body tr th").allInnerTexts();
  await page.fill("#filter", "");
  out.alert = await text(page, "#alerts li .text");
  await page.getByRole("button", { name: /^Acknowledge/ }).first().click();
  await page.waitForSelector("#alerts .ACKNOWLEDGED");
  out.acknowledged = await text(page, "#alerts .ACKNOWLEDGED");
  out.history = await page.locator("#history tbody tr").first().innerText();
  // The test changes the hub now; the page follows without being loaded again.
  await page.evaluate(() => { window.stillHere = true; });
  console.log("CHANGE");
  await page.waitForFunction(() => document.querySelector("#t-alerts").textContent === "0", null, { timeout: 15000 });
  out.followed = await page.evaluate(() => window.stillHere === true);
  out.live = seen;
  const saved = await watched(browser, { viewport: { width: 390, height: 844 } });
  await saved.page.goto(`file://${report}`);
  await saved.page.waitForSelector("#chart svg");
  await saved.page.screenshot({ path: `${folder}/report-390.png`, fullPage: true });
  out.report = { fleet: await saved.page.locator("#fleet-body tr").count(), buttons: await saved.page.locator("#alerts button").count(), overflow: await wide(saved.page), axes: await axes(saved.page), ...saved.seen };
  await browser.close();
  console.log(JSON.stringify(out));
})().catch((e) => { console.error(e); process.exit(1); });
