// Shows streams in xterm.js and tells what is on the screen, for tests to compare.
//
// Reads one JSON request a line: {"cols", "rows", "streams": [base64, ...]}, each stream for a fresh terminal.
// Answers one JSON line for each: {"screens": [...]}, what each terminal shows, down to the colours of its cells.

import { createInterface } from "node:readline";
import unicode11 from "@xterm/addon-unicode11";
import headless from "@xterm/headless";

/** All that xterm.js tells of a buffer: its lines with their cells' looks, and its cursor. */
function bufferOf(buffer) {
  const lines = [];
  for (let y = 0; y < buffer.length; y++) {
    const line = buffer.getLine(y);
    const cells = [];
    for (let x = 0; x < line.length; x++) cells.push(cellOf(line.getCell(x)));
    while (cells.length > 0 && cells.at(-1) === BLANK) cells.pop();
    lines.push((line.isWrapped ? "+" : " ") + cells.join(""));
  }
  return { base: buffer.baseY, x: buffer.cursorX, y: buffer.cursorY, lines };
}

const BLANK = " ";

function cellOf(cell) {
  const look = [
    cell.isFgDefault() ? "" : `f${cell.getFgColorMode()}:${cell.getFgColor()}`,
    cell.isBgDefault() ? "" : `b${cell.getBgColorMode()}:${cell.getBgColor()}`,
    cell.isBold() ? "B" : "",
    cell.isDim() ? "D" : "",
    cell.isItalic() ? "I" : "",
    cell.isUnderline() ? "U" : "",
    cell.isBlink() ? "K" : "",
    cell.isInverse() ? "V" : "",
    cell.isInvisible() ? "H" : "",
    cell.isStrikethrough() ? "S" : "",
    cell.isOverline() ? "O" : "",
  ].join("");
  const text = cell.getWidth() === 0 ? "" : cell.getChars() || " ";
  return look === "" ? text : `${text}<${look}>`;
}

async function show(cols, rows, stream) {
  const terminal = new headless.Terminal({ cols, rows, scrollback: 1000, allowProposedApi: true, logLevel: "off" });
  terminal.loadAddon(new unicode11.Unicode11Addon());
  terminal.unicode.activeVersion = "11";
  let title = null;
  terminal.onTitleChange((text) => (title = text));
  await new Promise((done) => terminal.write(Buffer.from(stream, "base64"), done));
  const shown = {
    type: terminal.buffer.active.type,
    normal: bufferOf(terminal.buffer.normal),
    alternate: bufferOf(terminal.buffer.alternate),
    modes: terminal.modes,
    title,
  };
  terminal.dispose();
  return shown;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { cols, rows, streams } = JSON.parse(line);
  const screens = [];
  for (const stream of streams) screens.push(await show(cols, rows, stream));
  process.stdout.write(JSON.stringify({ screens }) + "\n");
}
