#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace wavefield {

// A serialized SentencePiece model that keeps the text as it is: its own normalisation (Unicode
// forms, spaces put in front or taken away) and its self-tests, which rely on it, are left out;
// pieces and scores stay. No value, and `error` set, where `model` is not a whole serialized
// message.
std::optional<std::string> WithoutNormalization(std::string_view model, std::string& error);

}  // namespace wavefield
