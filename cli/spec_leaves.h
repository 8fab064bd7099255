#pragma once

#include <map>
#include <string>

#include "wavefield/v1/spec.pb.h"

namespace wavefield {

// Every setting by its path: "training.batch_size" → "16". Lists are JSON.
std::map<std::string, std::string> SpecLeaves(const v1::JobSpec& spec);

}  // namespace wavefield
