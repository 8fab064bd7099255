#pragma once

#include <string>

namespace wavefield {

// One thing that is wrong with a specification.
struct FieldViolation {
  std::string field;        // path in the specification: "training.batch_size"
  std::string description;  // the value, what is allowed, what to do
};

}  // namespace wavefield
