#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "absl/status/status.h"

namespace wavefield {

// The project's JSON form of messages: the proto's field names, primitive fields always printed,
// 64-bit integers as strings.
std::string ToJson(const google::protobuf::Message& message, bool pretty = false);

// INVALID_ARGUMENT on malformed JSON and on unknown fields, naming them. camelCase is accepted.
absl::Status FromJson(const std::string& json, google::protobuf::Message& message);

}  // namespace wavefield
