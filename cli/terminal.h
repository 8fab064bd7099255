#pragma once

#include <cstdio>
#include <string>

namespace wavefield {

bool IsTerminal(std::FILE* stream);
// Columns of the terminal behind `stream`; 80 where there is none.
int TerminalWidth(std::FILE* stream);

// From now on SIGINT and SIGTERM end the program with 128 + the signal's number, on a line of its
// own, after the notice set below. Not for programs that have children to stop.
void EndCleanlyOnInterrupt();
// What the user is told on an interrupt: "the job goes on; …". At most 400 bytes are kept.
void SetInterruptNotice(const std::string& notice);

}  // namespace wavefield
