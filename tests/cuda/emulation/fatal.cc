#include "tests/cuda/emulation/fatal.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/cuda/emulation/device.h"

namespace wavefield::emulation {
namespace {

constinit thread_local const char* operation = nullptr;

void Print(const char* text) { (void)!write(STDERR_FILENO, text, strlen(text)); }

}  // namespace

void SetOperation(const char* name) { operation = name; }
const char* CurrentOperation() { return operation; }

void Refuse(const std::string& message) { Print(("CUDA emulation: " + message + "\n").c_str()); }

void Fatal(const char* message) {
  Print("CUDA emulation: ");
  Print(message);
  if (operation != nullptr) {
    Print(" (in ");
    Print(operation);
    if (running.block_dim.x != 0) {
      char place[160];
      snprintf(place, sizeof(place), ", block (%u, %u, %u), thread (%u, %u, %u)", blockIdx.x,
               blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
      Print(place);
    }
    Print(")");
  }
  Print("\n");
  abort();
}

}  // namespace wavefield::emulation
