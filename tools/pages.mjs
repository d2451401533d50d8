// Looks at pages in a headless Chromium as readers with a phone, a desk and a dark room do: axe finds no serious accessibility fault, nothing
// is asked of another host, nothing sticks out to the side, and the pictures are kept.
//
//   node tools/pages.mjs PACKAGES CHROMIUM PICTURES NAME=URL …
import { createRequire } from 'node:module';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const [packages, chromium, pictures, ...pages] = process.argv.slice(2);
const require = createRequire(join(packages, 'package.json'));
const puppeteer = (await import(require.resolve('puppeteer-core'))).default;
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
const views = [
  { name: 'phone', width: 390, height: 844, scheme: 'light' },
  { name: 'desk', width: 1280, height: 900, scheme: 'light' },
  { name: 'dark', width: 1280, height: 900, scheme: 'dark' },
];
const serious = new Set(['serious', 'critical']);

await mkdir(pictures, { recursive: true });
const browser = await puppeteer.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu'] });
let faults = 0;
const fault = (text) => {
  faults++;
  console.error(`fault: ${text}`);
};
try {
  for (const entry of pages) {
    const cut = entry.indexOf('=');
    const name = entry.slice(0, cut), url = entry.slice(cut + 1);
    for (const view of views) {
      const page = await browser.newPage();
      await page.setViewport({ width: view.width, height: view.height, isMobile: view.name === 'phone', hasTouch: view.name === 'phone' });
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: view.scheme }]);
      const origin = new URL(url).origin;
      page.on('request', (r) => {
        if (!r.url().startsWith('data:') && new URL(r.url()).origin !== origin) fault(`${name}: asks for ${r.url()}`);
      });
      page.on('requestfailed', (r) => fault(`${name}: ${r.url()} failed: ${r.failure()?.errorText}`));
      page.on('pageerror', (e) => fault(`${name}: ${e}`));
      await page.setBypassCSP(true); // the page forbids scripts; axe is one
      const response = await page.goto(url, { waitUntil: 'load' });
      if (response && response.status() >= 400) fault(`${name}: ${url} answers ${response.status()}`);
      const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 1) fault(`${name} (${view.name}): ${wide} pixels stick out to the side`);
      await page.screenshot({ path: join(pictures, `${name}-${view.name}.png`) });
      await page.evaluate(axe);
      const found = await page.evaluate(() => globalThis.axe.run());
      for (const v of found.violations) {
        const where = v.nodes.slice(0, 3).map((n) => n.target.join(' ')).join('; ');
        const text = `${name} (${view.name}): ${v.impact}: ${v.help} [${v.id}] at ${v.nodes.length} places: ${where}`;
        if (serious.has(v.impact)) fault(text);
        else console.error(`note: ${text}`);
      }
      console.log(`${name} (${view.name}): ${found.passes.length} rules of axe pass, ${found.violations.length} do not`);
      await page.close();
    }
  }
} finally {
  await browser.close();
}
if (faults > 0) {
  console.error(`${faults} faults`);
  process.exit(1);
}
