#include "tests/core/backend/prepared_operands.h"

#include <limits>
#include <string>

namespace wavefield::testing {

std::vector<Tensor> PrepareOperands(const OperationCase& op, uint64_t seed,
                                    GuardedTensors& memory) {
  std::vector<Tensor> tensors;
  for (const Operand& operand : op.operands) {
    const bool index = operand.int_high > 0;
    Tensor tensor = index ? memory.Make(operand.shape, DType::kInt32)
                          : memory.Uniform(operand.shape, operand.low, operand.high, seed);
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      if (index) {
        const uint64_t span = operand.int_high - operand.int_low;
        const RandomStream stream(seed, "index " + std::to_string(tensors.size()));
        tensor.i32()[i] = operand.int_low + static_cast<int32_t>(stream.Below(i, span));
      } else if (operand.role == Role::kOutput) {
        tensor.f32()[i] = std::numeric_limits<float>::quiet_NaN();
      }
    }
    tensors.push_back(tensor);
  }
  return tensors;
}

std::vector<Tensor> CopyAll(const std::vector<Tensor>& tensors, GuardedTensors& memory) {
  std::vector<Tensor> copies;
  for (const Tensor& tensor : tensors) copies.push_back(memory.Copy(tensor));
  return copies;
}

}  // namespace wavefield::testing
