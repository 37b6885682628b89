// What a page looks like to a person: can each text be read, and does all of it fit in the window?
import assert from 'node:assert/strict';
import path from 'node:path';

const { PICTURES } = process.env; // a folder: what the pages look like is kept there

// In the page. A text is read on what is behind it (WCAG 2.2, 1.4.3: 4.5 to 1; a disabled control is
// exempt).
function look() {
  const parse = (color) => (color.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255];
  };
  const faint = [];
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const disabled = node.closest(':disabled, fieldset:disabled, label:has(:disabled)');
    if (!walker.currentNode.data.trim() || disabled || !node.checkVisibility()) continue;
    texts += 1;
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${walker.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return { faint, texts, wider: document.documentElement.scrollWidth - innerWidth };
}

// No text's contrast is too low, there are so many texts at least, and the page is no wider than its window. An element
// can be there before the style sheet is: the page is looked at once it has loaded.
export async function looks(page, name, least = 1) {
  await page.waitForLoadState('load');
  if (PICTURES) await page.screenshot({ path: path.join(PICTURES, `${name}.png`), fullPage: true });
  const { faint, texts, wider } = await page.evaluate(look);
  assert.ok(texts >= least, `${name}: ${texts} texts`);
  assert.deepEqual(faint, [], name);
  assert.ok(wider <= 0, `${name}: too wide by ${wider}`);
}
