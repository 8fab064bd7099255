#pragma once

#include <cstdio>
#include <string>

namespace wavefield {

bool IsTerminal(std::FILE* stream);
// Columns and rows of the terminal behind `stream`: what COLUMNS and LINES say, else the terminal;
// 80 and 24 where there is none.
int TerminalWidth(std::FILE* stream);
int TerminalHeight(std::FILE* stream);
// The terminal obeys escape sequences: TERM is neither unset nor "dumb".
bool TerminalHasCursor();
// `stream` is a terminal that shows colours, and nobody asked for none (NO_COLOR).
bool TerminalWantsColors(std::FILE* stream);
// The locale's characters are UTF-8.
bool LocaleIsUtf8();

// From now on SIGINT and SIGTERM end the program with 128 + the signal's number, on a line of its
// own, after the notice set below. Not for programs that have children to stop.
void EndCleanlyOnInterrupt();
// What the user is told on an interrupt: "the job goes on; …". At most 400 bytes are kept.
void SetInterruptNotice(const std::string& notice);

// What an interrupt writes to stdout first, so that the terminal is left as it was; null: nothing.
// With `reentry`, also what a stop (SIGTSTP, Ctrl-Z) writes, and `reentry` what is written when the
// program goes on. REQUIRES: static storage.
void SetTerminalRestoration(const char* sequence, const char* reentry = nullptr);
// True once after every stop that `reentry` was written for: the page must be drawn anew.
bool TakeRedrawRequest();
// Writes to stdout at once. An interrupt waits until it is done, and nothing is written after one:
// what is set above stays the last. Thread-safe.
void WriteToTerminal(const std::string& text);

}  // namespace wavefield
