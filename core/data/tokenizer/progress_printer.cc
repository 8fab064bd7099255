#include "core/data/tokenizer/progress_printer.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"

namespace wavefield {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto kInterval = std::chrono::milliseconds(200);

void PrintLine(const Json& json) {
  std::printf("%s\n", json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  std::fflush(stdout);
}

Json Summary(const PrepareResult& result, const std::string& output) {
  const DatasetManifest& manifest = result.manifest;
  int64_t documents = 0;
  int64_t text_bytes = 0;
  int64_t invalid = 0;
  for (const SourceManifest& source : manifest.sources) {
    documents += source.documents;
    text_bytes += source.text_bytes;
    invalid += source.invalid_utf8;
  }
  const int64_t tokens = manifest.train.tokens() + manifest.validation.tokens();
  return {{"stage", "done"},
          {"done", text_bytes},
          {"total", text_bytes},
          {"name", manifest.name},
          {"directory", output},
          {"content_hash", result.content_hash},
          {"tokenizer", manifest.tokenizer.kind},
          {"vocab_size", manifest.tokenizer.vocab_size},
          {"requested_vocab_size", manifest.tokenizer.requested_vocab_size},
          {"source_files", manifest.sources.size()},
          {"ignored_files", result.ignored.size()},
          {"documents", documents},
          {"text_bytes", text_bytes},
          {"train_tokens", manifest.train.tokens()},
          {"validation_tokens", manifest.validation.tokens()},
          {"bytes_per_token", static_cast<double>(text_bytes) / static_cast<double>(tokens)},
          {"invalid_utf8", invalid},
          {"messages", result.messages}};
}

}  // namespace

ProgressPrinter::ProgressPrinter(std::string output, bool json)
    : output_(std::move(output)), json_(json), terminal_(::isatty(STDERR_FILENO) == 1) {}

void ProgressPrinter::Update(const PrepareProgress& progress) {
  const auto now = std::chrono::steady_clock::now();
  const bool new_stage = stage_ != progress.stage;
  if (!new_stage && progress.done == done_) return;
  if (!new_stage && progress.done < progress.total && now - printed_ < kInterval) return;
  if (new_stage && !stage_.empty() && terminal_ && !json_) std::fputc('\n', stderr);
  stage_ = progress.stage;
  done_ = progress.done;
  printed_ = now;
  if (json_) {
    PrintLine({{"stage", progress.stage}, {"done", progress.done}, {"total", progress.total}});
    return;
  }
  const std::string line = absl::StrFormat("%-6s %5.1f of %.1f million", progress.stage,
                                           static_cast<double>(progress.done) / 1e6,
                                           static_cast<double>(progress.total) / 1e6);
  if (terminal_) {
    std::fprintf(stderr, "\r%s", line.c_str());
  } else if (progress.done == progress.total) {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

void ProgressPrinter::Done(const PrepareResult& result) {
  const Json summary = Summary(result, output_);
  if (json_) return PrintLine(summary);
  if (terminal_) std::fputc('\n', stderr);
  for (const std::string& message : result.messages) {
    std::fprintf(stderr, "note: %s\n", message.c_str());
  }
  const DatasetManifest& manifest = result.manifest;
  const double bytes_per_token = summary["bytes_per_token"].get<double>();
  const std::string line =
      absl::StrFormat("%s: %d training and %d validation tokens, vocabulary %d (%s), %s\n", output_,
                      manifest.train.tokens(), manifest.validation.tokens(),
                      manifest.tokenizer.vocab_size, manifest.tokenizer.kind,
                      bytes_per_token > 0 ? absl::StrFormat("%.2f bytes per token", bytes_per_token)
                                          : "bytes per token not known");
  std::fputs(line.c_str(), stdout);
}

void ProgressPrinter::Failed(const absl::Status& status) {
  const std::string message(status.message());
  if (json_) PrintLine({{"stage", "error"}, {"message", message}});
  if (terminal_ && !json_ && !stage_.empty()) std::fputc('\n', stderr);
  std::fprintf(stderr, "wavefield-tokenizer: %s\n", message.c_str());
}

}  // namespace wavefield
