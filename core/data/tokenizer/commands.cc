#include "core/data/tokenizer/commands.h"

#include <charconv>
#include <cstdio>
#include <functional>
#include <iostream>
#include <iterator>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/data/dataset.h"
#include "core/data/tokenizer/interrupt_guard.h"
#include "core/data/tokenizer/progress_printer.h"
#include "core/data/tokenizer/tokenizer.h"

namespace wavefield {
namespace {

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "wavefield-tokenizer: %s\n", std::string(status.message()).c_str());
  return 1;
}

void Print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

absl::Status Encode(const std::filesystem::path& dataset, const std::string& text) {
  WF_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(dataset));
  std::string list;
  for (const int32_t id : tokenizer->Encode(text)) {
    absl::StrAppend(&list, list.empty() ? "" : ", ", id);
  }
  Print(absl::StrCat("[", list, "]\n"));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view text, int64_t vocab_size) {
  constexpr std::string_view kBetween = " ,\t\r\n[]";
  std::vector<int32_t> ids;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(kBetween), text.size()));
    if (text.empty()) return ids;
    const std::string_view word = text.substr(0, text.find_first_of(kBetween));
    text.remove_prefix(word.size());
    int32_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size() || id < 0 || id >= vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", std::string(word), "' is not a token id; allowed: 0 to ", vocab_size - 1));
    }
    ids.push_back(id);
  }
}

absl::Status Decode(const std::filesystem::path& dataset, const std::string& text) {
  WF_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(dataset));
  WF_ASSIGN_OR_RETURN(const auto ids, ParseIds(text, tokenizer->vocab_size()));
  Print(tokenizer->Decode(ids));
  return absl::OkStatus();
}

void ShowSplit(const char* name, const SplitManifest& split, const TokenStream& tokens,
               const Tokenizer* tokenizer, int sample_tokens) {
  Print(absl::StrFormat("%-14s %d tokens, %d documents, %d bytes of text, %d shards\n", name,
                        split.tokens(), split.documents(), split.text_bytes(),
                        split.shards.size()));
  std::vector<int32_t> sample(static_cast<size_t>(std::min<int64_t>(sample_tokens, tokens.size())));
  if (sample.empty()) return;
  tokens.Copy(0, sample);
  Print(absl::StrCat("--- the first ", sample.size(), " tokens:\n",
                     tokenizer != nullptr ? tokenizer->Decode(sample) : absl::StrJoin(sample, " "),
                     "\n---\n"));
}

absl::Status Show(const std::filesystem::path& directory, int sample_tokens) {
  WF_ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(directory, VerifyMode::kQuick));
  const auto loaded = Tokenizer::Load(directory);
  if (!loaded.ok() && !absl::IsFailedPrecondition(loaded.status())) return loaded.status();
  const Tokenizer* tokenizer = loaded.ok() ? loaded->get() : nullptr;
  const DatasetManifest& manifest = dataset.manifest();
  Print(absl::StrFormat("%-14s %s\n%-14s %s\n%-14s %s, vocabulary %d (asked for: %d)\n", "name",
                        manifest.name, "content hash", dataset.content_hash(), "tokenizer",
                        manifest.tokenizer.kind, manifest.tokenizer.vocab_size,
                        manifest.tokenizer.requested_vocab_size));
  for (const SourceManifest& source : manifest.sources) {
    Print(absl::StrFormat("%-14s %s: %d documents, %d bytes of text, %d invalid sequences\n",
                          "source", source.path, source.documents, source.text_bytes,
                          source.invalid_utf8));
  }
  ShowSplit("train", manifest.train, dataset.train(), tokenizer, sample_tokens);
  ShowSplit("validation", manifest.validation, dataset.validation(), tokenizer, sample_tokens);
  return absl::OkStatus();
}

absl::Status Verify(const std::filesystem::path& directory) {
  WF_ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(directory, VerifyMode::kFull));
  const absl::Status tokenizer = Tokenizer::Load(directory).status();
  if (!tokenizer.ok() && !absl::IsFailedPrecondition(tokenizer)) return tokenizer;
  Print(absl::StrCat("ok ", dataset.content_hash(), " ",
                     dataset.train().size() + dataset.validation().size(), " tokens\n"));
  return absl::OkStatus();
}

absl::Status Inspect(const std::filesystem::path& directory, const InspectionOptions& options) {
  WF_ASSIGN_OR_RETURN(const nlohmann::ordered_json json, InspectDataset(directory, options));
  Print(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  return absl::OkStatus();
}

// Makes a dataset by `make`, staged, reported and cleaned up after an interrupt.
int RunStaged(const std::filesystem::path& output, bool json_progress,
              const std::function<absl::StatusOr<PrepareResult>(
                  StagedFolder&, const std::function<void(const PrepareProgress&)>&)>& make) {
  ProgressPrinter printer(output.string(), json_progress);
  StagedFolder staging(output);
  InterruptGuard guard([&](int signal) {
    staging.Discard();
    printer.Failed(absl::CancelledError(absl::StrCat("interrupted by signal ", signal)));
  });
  auto result = [&]() -> absl::StatusOr<PrepareResult> {
    WF_RETURN_IF_ERROR(staging.Open());
    return make(staging, [&](const PrepareProgress& progress) { printer.Update(progress); });
  }();
  if (!result.ok()) {
    guard.AwaitEndIfInterrupted();
    printer.Failed(result.status());
    return 1;
  }
  printer.Done(*result);
  return 0;
}

}  // namespace

int RunPrepare(const PrepareOptions& options, const std::filesystem::path& output,
               bool json_progress) {
  return RunStaged(output, json_progress, [&](StagedFolder& staging, const auto& progress) {
    return Prepare(options, staging, progress);
  });
}

int RunImport(const ImportOptions& options, const std::filesystem::path& output,
              bool json_progress) {
  return RunStaged(output, json_progress, [&](StagedFolder& staging, const auto& progress) {
    return Import(options, staging, progress);
  });
}

int RunEncode(const std::filesystem::path& dataset, const std::string& text) {
  return Report(Encode(dataset, text));
}

int RunDecode(const std::filesystem::path& dataset, const std::string& ids) {
  return Report(Decode(dataset, ids));
}

int RunShow(const std::filesystem::path& dataset, int sample_tokens) {
  return Report(Show(dataset, sample_tokens));
}

int RunInspect(const std::filesystem::path& dataset, const InspectionOptions& options) {
  return Report(Inspect(dataset, options));
}

int RunVerify(const std::filesystem::path& dataset) { return Report(Verify(dataset)); }

std::string ReadStdin() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

}  // namespace wavefield
