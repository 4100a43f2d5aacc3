() => {
  const parse = text => {
    const [r, g, b, a] = text.match(/[\d.]+/g).map(Number);
    return {r, g, b, a: a === undefined ? 1 : a};
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a), b: top.b * top.a + below.b * (1 - top.a), a: 1,
  });
  const light = ({r, g, b}) => {
    const [x, y, z] = [r, g, b].map(part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = element => {
    const found = [];
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.a > 0) found.push(color);
      if (color.a === 1) break;
    }
    return found.reverse().reduce((below, top) => over(top, below), {r: 255, g: 255, b: 255, a: 1});
  };
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest("title")) continue;
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest(".unseen, .skip")) continue;
    const style = getComputedStyle(element);
    let ground = behind(element), ink = parse(style.color);
    if (element instanceof SVGElement) {
      ink = parse(style.fill);
      if (element.classList.contains("count")) {
        // A count stands on its cell, which lets the board through.
        const board = element.ownerSVGElement.querySelector(".board");
        ground = over(parse(getComputedStyle(board).fill), ground);
        const cell = element.previousElementSibling, fill = getComputedStyle(cell);
        ground = over({...parse(fill.fill), a: Number(fill.fillOpacity)}, ground);
      }
    }
    const [high, low] = [light(ground), light(over(ink, ground))].sort((one, other) => other - one);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) bad.push(`${element.textContent.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return bad;
}
