#include "core/checkpoint/manifest.h"

#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/storage.h"

namespace wavefield {
namespace {

using nlohmann::json;

constexpr size_t kMaxText = 4096;
constexpr size_t kMaxFiles = 300'000;
constexpr size_t kDigestLength = 64;
constexpr std::string_view kDigestPrefix = ",\n  \"sha256\": \"";
constexpr std::string_view kDigestSuffix = "\"\n}\n";

absl::Status Bad(const std::string& key, const std::string& expected) {
  return absl::InvalidArgumentError("manifest key '" + key + "': expected " + expected);
}

// Reads keys of an object; remembers the first error and which keys were asked for.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {}

  void Number(const char* key, uint64_t limit, uint64_t& value) {
    const json* found = Find(key);
    if (!found->is_number_unsigned() || found->get<uint64_t>() > limit) {
      return Fail(key, absl::StrCat("a whole number up to ", limit));
    }
    value = found->get<uint64_t>();
  }
  void Text(const char* key, std::string& value) {
    const json* found = Find(key);
    if (!found->is_string() || found->get_ref<const std::string&>().size() > kMaxText) {
      return Fail(key, absl::StrCat("text of at most ", kMaxText, " bytes"));
    }
    value = found->get<std::string>();
  }
  void Object(const char* key, json& value) {
    const json* found = Find(key);
    if (!found->is_object()) return Fail(key, "an object");
    value = *found;
  }
  const json& Array(const char* key, size_t limit) {
    static const json kEmpty = json::array();
    const json* found = Find(key);
    if (found->is_array() && found->size() <= limit) return *found;
    Fail(key, absl::StrCat("an array of at most ", limit, " elements"));
    return kEmpty;
  }
  void Fail(const char* key, const std::string& expected) {
    if (status_.ok()) status_ = Bad(key, expected);
  }
  // Also an error: keys that nobody asked for.
  absl::Status Done() {
    for (const auto& [key, value] : object_.items()) {
      if (status_.ok() && !asked_.contains(key)) {
        status_ =
            absl::InvalidArgumentError("manifest key '" + key.substr(0, 100) + "' is unknown");
      }
    }
    return status_;
  }

 private:
  const json* Find(const char* key) {
    static const json kAbsent;
    asked_.insert(key);
    const auto found = object_.find(key);
    return found == object_.end() ? &kAbsent : &*found;
  }

  const json& object_;
  std::set<std::string> asked_;
  absl::Status status_;
};

bool IsDigest(const std::string& text) {
  return text.size() == kDigestLength &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

absl::StatusOr<std::vector<CheckpointManifest::File>> ParseFiles(const json& array) {
  std::vector<CheckpointManifest::File> files;
  std::set<std::string> names;
  for (const json& element : array) {
    if (!element.is_object()) return Bad("files", "objects");
    CheckpointManifest::File file;
    Fields fields(element);
    fields.Text("name", file.name);
    fields.Number("bytes", uint64_t{1} << 60, file.bytes);
    fields.Text("sha256", file.sha256);
    if (!IsDigest(file.sha256)) fields.Fail("sha256", "64 lower-case hexadecimal digits");
    WF_RETURN_IF_ERROR(fields.Done());
    if (!ValidateStoragePath(file.name).ok() || file.name.find('/') != std::string::npos ||
        file.name == kManifestFile || !names.insert(file.name).second) {
      return Bad("files", "distinct file names; found '" + file.name.substr(0, 200) + "'");
    }
    files.push_back(std::move(file));
  }
  return files;
}

// The text without its last line, once that has been found to hold the digest of the rest.
absl::StatusOr<std::string> VerifiedBody(std::string_view text) {
  const size_t tail = kDigestPrefix.size() + kDigestLength + kDigestSuffix.size();
  if (text.size() > kMaxManifestBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the manifest has ", text.size(), " bytes; the limit is ", kMaxManifestBytes));
  }
  const std::string_view body = text.substr(0, text.size() < tail ? 0 : text.size() - tail);
  if (body.empty() || text != std::string(body) + std::string(kDigestPrefix) + Sha256Hex(body) +
                                  std::string(kDigestSuffix)) {
    return absl::DataLossError(
        "the manifest is torn or altered: it does not end with the SHA-256 of what it holds");
  }
  return std::string(body) + "\n}";
}

}  // namespace

std::string FormatManifest(const CheckpointManifest& manifest) {
  nlohmann::ordered_json object;
  object["format"] = "wavefield-checkpoint";
  object["format_version"] = manifest.format_version;
  object["job"] = manifest.job;
  object["epoch"] = manifest.epoch;
  object["step"] = manifest.step;
  object["batch_index"] = manifest.batch_index;
  object["tokens"] = manifest.tokens;
  object["seed"] = manifest.seed;
  object["created"] = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", manifest.created, absl::UTCTimeZone());
  object["model_config"] = manifest.model_config;
  object["training_spec"] = manifest.training_spec;
  object["dataset"] = manifest.dataset;
  object["dataset_content_hash"] = manifest.dataset_content_hash;
  object["tokenizer_hash"] = manifest.tokenizer_hash;
  object["fingerprint"] = manifest.fingerprint;
  object["metrics"] = manifest.metrics;
  object["world_size"] = manifest.world_size;
  object["parent"] = manifest.parent;
  object["files"] = nlohmann::ordered_json::array();
  for (const auto& file : manifest.files) {
    object["files"].push_back(
        {{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  std::string body = object.dump(2, ' ', false, json::error_handler_t::replace);
  body.resize(body.size() - 2);  // "\n}"
  return body + std::string(kDigestPrefix) + Sha256Hex(body) + std::string(kDigestSuffix);
}

absl::StatusOr<CheckpointManifest> ParseManifest(std::string_view text) {
  WF_ASSIGN_OR_RETURN(const std::string body, VerifiedBody(text));
  const json object = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("the manifest is not a JSON object");

  constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
  CheckpointManifest manifest;
  Fields fields(object);
  std::string format, created;
  uint64_t version = 0, world_size = 0;
  fields.Text("format", format);
  if (format != "wavefield-checkpoint") fields.Fail("format", "'wavefield-checkpoint'");
  fields.Number("format_version", kAny, version);
  if (version > kCheckpointFormatVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the checkpoint has format version ", version, "; this program knows up to ",
                     kCheckpointFormatVersion, ": use a newer one"));
  }
  manifest.format_version = static_cast<int>(version);
  fields.Text("job", manifest.job);
  fields.Number("epoch", kAny, manifest.epoch);
  fields.Number("step", kAny, manifest.step);
  fields.Number("batch_index", kAny, manifest.batch_index);
  fields.Number("tokens", kAny, manifest.tokens);
  fields.Number("seed", kAny, manifest.seed);
  fields.Text("created", created);
  if (!absl::ParseTime("%Y-%m-%dT%H:%M:%SZ", created, absl::UTCTimeZone(), &manifest.created,
                       nullptr)) {
    fields.Fail("created", "a time like 2030-01-31T12:00:00Z");
  }
  fields.Object("model_config", manifest.model_config);
  fields.Object("training_spec", manifest.training_spec);
  fields.Text("dataset", manifest.dataset);
  fields.Text("dataset_content_hash", manifest.dataset_content_hash);
  fields.Text("tokenizer_hash", manifest.tokenizer_hash);
  fields.Object("fingerprint", manifest.fingerprint);
  fields.Object("metrics", manifest.metrics);
  fields.Number("world_size", kMaxWorldSize, world_size);
  if (world_size == 0) fields.Fail("world_size", "at least 1");
  manifest.world_size = static_cast<int>(world_size);
  fields.Text("parent", manifest.parent);
  const json& files = fields.Array("files", kMaxFiles);
  WF_RETURN_IF_ERROR(fields.Done());
  WF_ASSIGN_OR_RETURN(manifest.files, ParseFiles(files));
  return manifest;
}

}  // namespace wavefield
