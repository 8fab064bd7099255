#include "core/data/tokenizer_description.h"

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr char kFormat[] = "wavefield-tokenizer";
constexpr int kVersion = 1;
constexpr uint64_t kMaxFileBytes = uint64_t{8} << 20;

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

absl::Status Bad(const std::string& reason) { return absl::DataLossError(reason); }

}  // namespace

std::string TokenizerDescription::ToJson() const {
  nlohmann::ordered_json json = {{"format", kFormat},
                                 {"version", kVersion},
                                 {"kind", kind},
                                 {"vocab_size", vocab_size},
                                 {"separator_id", separator_id}};
  if (!model_sha256.empty()) {
    json["model_file"] = kTokenizerModelFile;
    json["model_sha256"] = model_sha256;
  }
  if (!token_bytes.empty()) {
    json["token_bytes"] = absl::BytesToHexString(
        std::string(reinterpret_cast<const char*>(token_bytes.data()), token_bytes.size()));
  }
  return json.dump(2) + "\n";
}

absl::StatusOr<TokenizerDescription> TokenizerDescription::FromJson(std::string_view text) {
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.at("format") != kFormat) return Bad("'format' is not 'wavefield-tokenizer'");
    if (json.at("version") != kVersion) {
      return Bad(
          absl::StrCat("version ", json.at("version").dump(), "; this program reads ", kVersion));
    }
    TokenizerDescription result;
    result.kind = json.at("kind").get<std::string>();
    if (!result.has_model() && result.kind != "bytes" && result.kind != "ids") {
      return Bad(absl::StrCat("kind '", result.kind, "'; known: bpe, sentencepiece, bytes, ids"));
    }
    result.model_sha256 = json.value("model_sha256", "");
    if (result.model_sha256.size() != (result.has_model() ? 64 : 0) ||
        !IsHex(result.model_sha256)) {
      return Bad(
          "'model_sha256' must be 64 hexadecimal digits where there is a model, else absent");
    }
    result.vocab_size = json.at("vocab_size").get<int64_t>();
    if (result.vocab_size < 1 || result.vocab_size > kMaxVocabSize) {
      return Bad(absl::StrCat("vocab_size ", result.vocab_size, "; allowed: 1 to ", kMaxVocabSize));
    }
    if (result.kind != "ids" || json.contains("token_bytes")) {
      const auto hex = json.at("token_bytes").get<std::string>();
      if (!IsHex(hex) || hex.size() != 2 * static_cast<size_t>(result.vocab_size)) {
        return Bad(absl::StrCat("'token_bytes' must be two hexadecimal digits for each of the ",
                                result.vocab_size, " ids"));
      }
      const std::string bytes = absl::HexStringToBytes(hex);
      result.token_bytes.assign(bytes.begin(), bytes.end());
    }
    const auto separator = json.at("separator_id").get<int64_t>();
    if (separator >= result.vocab_size || separator < (result.kind == "ids" ? kNoSeparator : 0)) {
      return Bad(
          absl::StrCat("separator_id ", separator, " in a vocabulary of ", result.vocab_size));
    }
    result.separator_id = static_cast<int32_t>(separator);
    return result;
  } catch (const nlohmann::json::exception& error) {
    return Bad(error.what());
  }
}

absl::StatusOr<TokenizerDescription> TokenizerDescription::Load(
    const std::filesystem::path& directory) {
  const auto path = directory / kTokenizerFile;
  WF_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  auto description = FromJson(text);
  if (!description.ok()) {
    return absl::DataLossError(
        absl::StrCat(path.string(), " is corrupt: ", description.status().message()));
  }
  return description;
}

}  // namespace wavefield
