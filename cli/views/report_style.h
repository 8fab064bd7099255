#pragma once

namespace wavefield {

// Of a report's page: light or dark as the reader's system, and for print.
inline constexpr char kReportStyle[] = R"(
:root { color-scheme: light dark; --page: #ffffff; --text: #1c1f24; --faint: #667080; --line: #d8dde4; --tint: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --page: #15181d; --text: #e4e7eb; --faint: #98a2b0; --line: #343a44; --tint: #1d2127; }
}
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem; }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin: 2.2rem 0 0.8rem; padding-bottom: 0.3rem; border-bottom: 1px solid var(--line); font-size: 1.2rem; }
h3 { font-size: 1rem; }
.note, dt, th { color: var(--faint); font-weight: normal; }
.note { margin: 0; font-size: 0.85rem; }
.state { padding: 0.1rem 0.5rem; border: 1px solid; border-radius: 0.3rem; }
.state.SUCCEEDED { color: #1b8a5a; }
.state.FAILED { color: #c8442f; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 0.8rem 1.2rem; }
dl div { min-width: 0; }
dt { font-size: 0.85rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; break-inside: avoid; }
.chart { width: 100%; height: auto; display: block; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.9rem 0.2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
#goodput-ledger tbody tr:last-child { font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
code, #settings td { font-family: ui-monospace, monospace; font-size: 0.85rem; overflow-wrap: anywhere; }
@media print {
  body { font-size: 11px; }
  main { max-width: none; padding: 0; }
  .wide { overflow: visible; }
}
)";

}  // namespace wavefield
