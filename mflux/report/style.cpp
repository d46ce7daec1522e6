// SPDX-License-Identifier: MIT
#include "mflux/report/style.h"

namespace mflux::report {
namespace {

// Stored forms go from warm (few bits) over blue to grey (not packed).
constexpr std::string_view kStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #faf9f7; --card: #ffffff; --text: #1f2328; --quiet: #656d76; --line: #e5e3de; --band: #f3f1ed;
  --accent: #1f6f8b; --before: #c3c9cf; --good: #2b7a4b; --warn: #b3541e; --baked: #ffffff;
  --q2: #c2413c; --q3: #d9693b; --q4: #e29a36; --q5: #b7a63a; --q6: #5f9f6d; --q8: #2f7f9d;
  --half: #b4bcc4; --full: #7b8691; --other: #d8cfe3;
  --s0: #1f6f8b; --s1: #d0682b; --s2: #6c59b0; --s3: #3b8f55; --s4: #b83a6b; --s5: #8a7a1f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15181b; --card: #1d2125; --text: #e4e7ea; --quiet: #98a1aa; --line: #30363c; --band: #23282d;
    --accent: #6bb8d2; --before: #525b64; --good: #6cc08b; --warn: #eb9a62; --baked: #14181b;
    --q2: #e0635d; --q3: #e8834f; --q4: #e9ae57; --q5: #cdbd57; --q6: #77b886; --q8: #5aa9c6;
    --half: #59636d; --full: #8a95a0; --other: #7d6f92;
    --s0: #6bb8d2; --s1: #ef9358; --s2: #a99be4; --s3: #75c48e; --s4: #ea7ea6; --s5: #cfbd58;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 72rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1.5rem; letter-spacing: -0.02em; }
h2 { font-size: 1.3rem; margin: 3.5rem 0 0.75rem; letter-spacing: -0.01em; }
h3 { font-size: 1rem; margin: 2rem 0 0.25rem; }
h1, h2, h3, p, li, dd, summary, figcaption { overflow-wrap: anywhere; }
p { margin: 0.5rem 0; max-width: 46rem; }
.quiet, .over { color: var(--quiet); }
.over { font-size: 0.85rem; margin: 0 0 0.25rem; }
.verdict {
  background: var(--card); border: 1px solid var(--line); border-left: 5px solid var(--good);
  border-radius: 10px; padding: 1.1rem 1.4rem;
}
.verdict > p { font-size: 1.25rem; line-height: 1.4; margin: 0; max-width: none; }
.verdict.warn { border-left-color: var(--warn); }
.verdict ul { margin: 0.9rem 0 0; padding-left: 1.2rem; }
.verdict li::marker { color: var(--warn); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 0.75rem; margin: 0.75rem 0 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 0.8rem 1rem; }
.tiles dt, .facts dt { color: var(--quiet); font-size: 0.85rem; }
.tiles dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 0.75rem 1.5rem; margin: 1.25rem 0; }
.facts dd { margin: 0; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: 0.9rem; min-width: 100%; }
th, td { text-align: left; padding: 0.45rem 1.1rem 0.45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--quiet); font-weight: 500; white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td:not(.number) { min-width: 9rem; }
code { font: 0.85em ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
details { border-top: 1px solid var(--line); padding: 0.55rem 0; }
details:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; }
summary:hover { color: var(--accent); }
.bars { display: grid; grid-template-columns: minmax(6.5rem, auto) 1fr; gap: 0.9rem 1.25rem; align-items: center; }
.bars > div { display: grid; gap: 3px; }
.bar { display: flex; align-items: center; gap: 0.6rem; font-size: 0.85rem; white-space: nowrap; line-height: 1.3; }
.bar i { height: 12px; border-radius: 3px; background: var(--accent); min-width: 2px; flex: 0 1 auto; }
.bar.before i { background: var(--before); }
.bar.before { color: var(--quiet); }
.keys { display: flex; flex-wrap: wrap; gap: 0.3rem 1.4rem; list-style: none; padding: 0; margin: 0.75rem 0; font-size: 0.9rem; }
.keys i { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 3px; margin-right: 0.5em; }
.keys i.dot { border-radius: 50%; }
svg { display: block; font: 11px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
svg text { fill: var(--quiet); }
svg .end { text-anchor: end; }
svg .mid { text-anchor: middle; }
svg circle:hover, svg rect:hover { stroke: var(--text); stroke-width: 1.5; }
.plot { width: 100%; min-width: 58rem; margin: 0.25rem 0 1rem; }
.plot .band { fill: var(--band); }
.plot .grid { stroke: var(--line); }
.plot .kind { stroke: var(--before); stroke-width: 2; }
.plot .whole, .plot .limit { stroke: var(--text); stroke-dasharray: 5 4; stroke-opacity: 0.7; pointer-events: none; }
.plot .limit { stroke: var(--warn); stroke-opacity: 1; }
.plot circle { fill-opacity: 0.8; }
.bits { margin: 0 0 0.5rem; font-size: 10px; }
.bits rect { fill: var(--other); }
.bits .baked { fill: var(--baked); pointer-events: none; }
.maps { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; padding-top: 0.75rem; }
.maps figure { margin: 0; max-width: 100%; }
.maps figcaption { font-size: 0.9rem; color: var(--quiet); margin-bottom: 0.25rem; }
.keys i { background: var(--other); }
.pictures {
  display: grid; gap: 1.25rem 1rem; margin: 0.75rem 0 2.5rem;
  grid-template-columns: repeat(auto-fill, minmax(max(9.5rem, calc(100% / var(--columns) - 1rem)), 1fr));
}
.pictures figure { margin: 0; }
.pictures img { display: block; width: 100%; height: auto; border-radius: 6px; background: var(--band); }
.pictures figcaption { font-size: 0.85rem; line-height: 1.4; margin: 0 0 0.4rem; }
.pictures label { display: block; cursor: zoom-in; }
.pictures input { position: absolute; opacity: 0; pointer-events: none; }
.pictures input:focus-visible + img { outline: 3px solid var(--accent); outline-offset: 2px; }
.pictures input:checked + img {
  position: fixed; inset: 0; z-index: 1; width: 100%; height: 100%; object-fit: contain; cursor: zoom-out;
  background: var(--page); border-radius: 0;
}
.measure { display: grid; grid-template-columns: 1fr 1fr; gap: 0.6rem; margin-top: 0.5rem; font-size: 0.85rem; line-height: 1.4; }
.measure p { margin: 0; font-variant-numeric: tabular-nums; }
blockquote { margin: 0.25rem 0; padding: 0; max-width: 46rem; color: var(--quiet); overflow-wrap: anywhere; }
footer { margin-top: 4rem; color: var(--quiet); font-size: 0.85rem; }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); }
.s3 { fill: var(--s3); } .s4 { fill: var(--s4); } .s5 { fill: var(--s5); }
i.s0 { background: var(--s0); } i.s1 { background: var(--s1); } i.s2 { background: var(--s2); }
i.s3 { background: var(--s3); } i.s4 { background: var(--s4); } i.s5 { background: var(--s5); }
rect.q2 { fill: var(--q2); } rect.q3 { fill: var(--q3); } rect.q4 { fill: var(--q4); }
rect.q5 { fill: var(--q5); } rect.q6 { fill: var(--q6); } rect.q8 { fill: var(--q8); }
rect.bf16, rect.f16 { fill: var(--half); } rect.f32, rect.f64 { fill: var(--full); }
i.q2 { background: var(--q2); } i.q3 { background: var(--q3); } i.q4 { background: var(--q4); }
i.q5 { background: var(--q5); } i.q6 { background: var(--q6); } i.q8 { background: var(--q8); }
i.bf16, i.f16 { background: var(--half); } i.f32, i.f64 { background: var(--full); }
@media (max-width: 40rem) {
  main { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.6rem; }
  .verdict > p { font-size: 1.1rem; }
  .tiles, .facts { grid-template-columns: 1fr 1fr; }
  .bars { grid-template-columns: 1fr; gap: 0.35rem; }
  .bars > div { margin-bottom: 0.6rem; }
}
)css";

}  // namespace

std::string_view style() {
  return kStyle;
}

}  // namespace mflux::report
