#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "absl/status/status.h"
#include "wavefield/v1/spec.pb.h"

namespace wavefield {

// Reads a specification, its keys in snake_case or camelCase, or a Job, whose specification is
// taken. INVALID_ARGUMENT for JSON that is malformed or holds a value of a wrong type; all unknown
// keys are reported at once, as field violations that name the nearest known ones. `source` is the
// file's name in messages.
absl::Status ParseSpec(const std::string& json, const std::string& source, v1::JobSpec& spec);

// Carries out "path.to.field=value" on `message`. The value is read as the field's type says: lists
// as "1,2,3" or "[1,2,3]" (an empty one clears), an entry of a map as "labels.key=value".
// INVALID_ARGUMENT names the field, its type and the nearest known names; `flag` is what the
// assignment was given with.
absl::Status SetField(const std::string& assignment, google::protobuf::Message& message,
                      const std::string& flag = "--set");

}  // namespace wavefield
