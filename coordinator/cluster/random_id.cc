#include "coordinator/cluster/random_id.h"

#include <random>

namespace wavefield::coordinator {

std::string RandomHex(int digits) {
  std::random_device device;
  std::string text;
  for (int i = 0; i < digits; ++i) text += "0123456789abcdef"[device() % 16];
  return text;
}

}  // namespace wavefield::coordinator
