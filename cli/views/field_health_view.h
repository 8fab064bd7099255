#pragma once

#include <string>

#include "wavefield/v1/history.pb.h"

namespace wavefield {

// Two tables for people: a line for each layer, then one for each head that has waves.
std::string FormatFieldHealth(const v1::FieldHealth& health);

}  // namespace wavefield
