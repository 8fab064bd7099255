#pragma once

#include <string>

namespace wavefield::emulation {

// A program that a GPU would run wrongly: prints the message, with the running thread of a kernel
// if there is one, to stderr and aborts. May be called in a signal handler of a fault.
[[noreturn]] void Fatal(const char* message);
[[noreturn]] inline void Fatal(const std::string& message) { Fatal(message.c_str()); }

// What the calling host thread runs, for messages: the name of an operation, or null.
void SetOperation(const char* name);
const char* CurrentOperation();

// Prints why a call is refused to stderr.
void Refuse(const std::string& message);

}  // namespace wavefield::emulation
