#include "core/model/accounting.h"

#include "core/model/architecture.h"

namespace wavefield {

int64_t ParameterCount(const ModelConfig& config) {
  int64_t count = 0;
  for (const ParameterDescription& p : DescribeParameters(config)) count += p.shape.elements();
  return count;
}

int64_t MatrixParameterCount(const ModelConfig& config) {
  int64_t count = 0;
  for (const ParameterDescription& p : DescribeParameters(config)) {
    count += p.products * p.shape.elements();
  }
  return count;
}

double ModelFlopsPerToken(const ModelConfig& config) {
  return 6.0 * static_cast<double>(MatrixParameterCount(config));
}

}  // namespace wavefield
