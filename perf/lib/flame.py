"""Stacks: read from `perf script`, folded, drawn as a flame graph (Gregg, "The Flame Graph", CACM 2016)."""

import re
from html import escape

ROW, WIDTH, SMALLEST = 17, 1200, 0.6
HEAD = re.compile(r"^(?P<comm>\S.*?)\s+(?P<tid>\d+)(?:/\d+)?\s+(?:\[\d+\]\s+)?(?P<time>\d+\.\d+):\s*(?P<rest>.*)$")
FRAME = re.compile(r"^\s+[0-9a-f]+ (?P<name>.*?)(?:\+0x[0-9a-f]+)? \((?P<where>[^()]*)\)$")


def samples(text):
    """Yields (thread name, thread id, seconds, rest of the head line, frames from the outermost on)."""
    head, frames = None, []
    for line in text.splitlines() + ["end 0 0.0:"]:
        if found := HEAD.match(line.strip()):
            if head:
                yield head["comm"], int(head["tid"]), float(head["time"]), head["rest"], frames[::-1]
            head, frames = found, []
        elif found := FRAME.match(line):
            frames.append(short(found["name"], found["where"]))


def short(name, where):
    """A frame's name without what only makes it long."""
    if name == "[unknown]":
        return f"[{where.rsplit('/', 1)[-1]}]" if where else name
    name = re.sub(r"::h[0-9a-f]{16}$", "", name)
    for _ in range(4):
        name = re.sub(r"<[^<>]*>", "<>", name) if len(name) > 90 else name
    return name + ("_[k]" if "kernel" in where else "")


def folded(stacks):
    """The text form that flame graph tools read; `stacks` maps tuples of frames to a weight."""
    return "".join(f"{';'.join(frames)} {round(weight)}\n" for frames, weight in sorted(stacks.items()))


def shares(stacks, top=15):
    """The frames in which most of the weight was, themselves and all below them."""
    total = sum(stacks.values()) or 1
    own, all_of = {}, {}
    for frames, weight in stacks.items():
        own[frames[-1]] = own.get(frames[-1], 0) + weight
        for frame in set(frames):
            all_of[frame] = all_of.get(frame, 0) + weight
    rows = sorted(own.items(), key=lambda pair: -pair[1])[:top]
    return [[frame, f"{100 * weight / total:.1f}", f"{100 * all_of[frame] / total:.1f}"] for frame, weight in rows]


def picture(title, unit, stacks):
    """An SVG; the weight of a frame, and its share, is told where the pointer rests."""
    root = {"weight": 0, "below": {}}
    for frames, weight in stacks.items():
        node = root
        node["weight"] += weight
        for frame in frames:
            node = node["below"].setdefault(frame, {"weight": 0, "below": {}})
            node["weight"] += weight
    total = root["weight"] or 1
    boxes, deepest = [], 0

    def place(node, name, left, depth):
        nonlocal deepest
        width = WIDTH * node["weight"] / total
        if width < SMALLEST:
            return
        deepest = max(deepest, depth)
        boxes.append((name, left, depth, width, node["weight"]))
        for below, child in sorted(node["below"].items()):
            place(child, below, left, depth + 1)
            left += WIDTH * child["weight"] / total

    place(root, "all", 0.0, 0)
    height = 40 + ROW * (deepest + 1)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 20}" height="{height + 10}" '
           f'font-family="monospace" font-size="11">', '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="10" y="22" font-size="15" font-family="sans-serif">{escape(title)}</text>']
    for name, left, depth, width, weight in boxes:
        top = height - ROW * (depth + 1)
        shade = sum(map(ord, name)) % 40
        colour = f"rgb({120 + shade},{150 + shade},{205 + shade})" if name.endswith("_[k]") \
            else f"rgb({220 - shade // 2},{120 + shade * 2},{60 + shade})"
        tip = f"{name}: {weight:,.0f} {unit}, {100 * weight / total:.2f} %"
        text = name.removesuffix("_[k]").rsplit("::", 2)
        text = "::".join(text[-2:])[:max(0, int(width / 6.7))]
        out.append(f'<g><title>{escape(tip)}</title><rect x="{left + 10:.1f}" y="{top}" width="{max(width - 0.4, 0.3):.1f}" '
                   f'height="{ROW - 1}" fill="{colour}"/>'
                   + (f'<text x="{left + 12:.1f}" y="{top + 12}">{escape(text)}</text>' if len(text) > 2 else "") + "</g>")
    out.append("</svg>")
    return "\n".join(out) + "\n"
