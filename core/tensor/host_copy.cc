#include "core/tensor/host_copy.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace wavefield {

std::vector<float> ToHost(Backend& backend, Tensor x) {
  std::vector<float> values(static_cast<size_t>(x.elements()));
  if (x.dtype == DType::kFloat32) {
    backend.CopyToHost(x, values.data());
    return values;
  }
  WF_CHECK_MSG(x.dtype == DType::kBFloat16, "ToHost: " + x.ToString());
  std::vector<uint16_t> halves(values.size());
  backend.CopyToHost(x, halves.data());
  // A bf16 is the upper half of an fp32.
  std::transform(halves.begin(), halves.end(), values.begin(), [](uint16_t half) {
    return std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
  });
  return values;
}

}  // namespace wavefield
