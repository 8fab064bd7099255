#include "core/model/mixers/wave_field/initial_values.h"

#include <cmath>

namespace wavefield {
namespace {

double TimeConstant(int64_t head, int64_t heads) {
  return 2.0 * std::pow(512.0, Ratio(head, heads));
}

}  // namespace

double Ratio(int64_t index, int64_t count) {
  return count > 1 ? static_cast<double>(index) / static_cast<double>(count - 1) : 0.0;
}

InitialValue InitialDampingBias(int64_t heads) {
  return [heads](const RandomStream&, int64_t h) {
    return std::log(std::expm1(1.0 / TimeConstant(h, heads)));
  };
}

InitialValue InitialFrequency(int64_t heads) {
  return [heads](const RandomStream&, int64_t h) {
    return (static_cast<double>(h) + 0.5) / static_cast<double>(heads) * 0.5 /
           std::sqrt(TimeConstant(heads - 1 - h, heads));
  };
}

InitialValue InitialCoupling(int64_t heads) {
  const double own = heads > 1 ? std::log(9.0 * static_cast<double>(heads - 1)) : 0.0;
  return [=](const RandomStream&, int64_t i) { return i / heads == i % heads ? own : 0.0; };
}

}  // namespace wavefield
