#include "core/backend/wave_sums.h"

namespace wavefield {

void ReduceWaveSums(const contract::FieldSizes& size, const WaveSums* sums, Tensor ddamping,
                    Tensor dfrequency, Tensor dphase) {
  for (int64_t h = 0; h < size.heads; ++h) {
    WaveSums total;
    for (int64_t b = 0; b < size.batch; ++b) {
      const WaveSums& part = sums[b * size.heads + h];
      total.omega += part.omega;
      total.phi += part.phi;
      total.damping += part.damping;
    }
    dfrequency.f32()[h] = static_cast<float>(dfrequency.f32()[h] + total.omega);
    dphase.f32()[h] = static_cast<float>(dphase.f32()[h] + total.phi);
    if (size.static_damping) ddamping.f32()[h] = static_cast<float>(total.damping);
  }
}

}  // namespace wavefield
