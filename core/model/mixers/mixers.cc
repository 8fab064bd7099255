#include <array>

#include "core/model/mixers/attention/attention.h"
#include "core/model/mixers/classic/classic.h"
#include "core/model/mixers/mixer.h"
#include "core/model/mixers/wave_field/wave_field.h"

namespace wavefield {

std::span<const MixerKind* const> Mixers() {
  static const WaveFieldKind wave_field;
  static const ClassicKind classic;
  static const AttentionKind attention;
  static const std::array<const MixerKind*, 3> mixers = {&wave_field, &classic, &attention};
  return mixers;
}

}  // namespace wavefield
