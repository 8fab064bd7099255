#include "core/base/logging.h"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace wavefield {
namespace {

ABSL_CONST_INIT absl::Mutex fields_mutex(absl::kConstInit);
// Never destroyed: threads may log until the end.
LogFields& process_fields ABSL_GUARDED_BY(fields_mutex) = *new LogFields;

thread_local const LogScope* innermost = nullptr;

LogFields FieldsOfProcess() {
  const absl::MutexLock lock(&fields_mutex);
  return process_fields;
}

void Append(const std::string& text, spdlog::memory_buf_t& line) {
  line.append(text.data(), text.data() + text.size());
}

std::string ToString(spdlog::string_view_t text) { return {text.data(), text.size()}; }

// "[words epoch 1 rank 0 step 20] "; empty where nothing is known.
class FieldsFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg&, const std::tm&,
              spdlog::memory_buf_t& line) override {
    const LogFields fields = FieldsOfProcess();
    std::string text = fields.job;
    const auto add = [&](const char* name, const std::optional<int64_t>& value) {
      if (value) text += fmt::format("{}{} {}", text.empty() ? "" : " ", name, *value);
    };
    add("epoch", fields.epoch);
    add("rank", fields.rank);
    add("step", fields.step);
    if (!text.empty()) Append("[" + text + "] ", line);
  }

  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<FieldsFlag>();
  }
};

std::unique_ptr<spdlog::formatter> TextFormatter() {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<FieldsFlag>('*').set_pattern("[%Y-%m-%d %H:%M:%S.%e] [%n] [%^%l%$] %*%v");
  return formatter;
}

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    const LogFields fields = innermost == nullptr ? FieldsOfProcess() : innermost->fields();
    nlohmann::ordered_json json = {
        {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::FromChrono(message.time),
                                  absl::UTCTimeZone())},
        {"level", ToString(spdlog::level::to_string_view(message.level))},
        {"program", ToString(message.logger_name)},
        {"message", ToString(message.payload)}};
    if (!fields.job.empty()) json["job"] = fields.job;
    if (fields.rank) json["rank"] = *fields.rank;
    if (fields.epoch) json["epoch"] = *fields.epoch;
    if (fields.step) json["step"] = *fields.step;
    Append(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n", line);
  }

  std::unique_ptr<formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

}  // namespace

void AddLogFlags(CLI::App& app, LogOptions& options) {
  app.add_option("--log-format", options.format, "of the log's lines: text or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  app.add_option("--log-level", options.level, "trace, debug, info, warn or error")
      ->capture_default_str()
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}));
}

void StartLogging(const std::string& program, const LogOptions& options) {
  const auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  auto logger = std::make_shared<spdlog::logger>(program, sink);
  logger->set_formatter(options.format == "json" ? std::make_unique<JsonFormatter>()
                                                 : TextFormatter());
  logger->set_level(spdlog::level::from_str(options.level));
  spdlog::set_default_logger(std::move(logger));
}

void SetLogFields(const LogFields& fields) {
  const absl::MutexLock lock(&fields_mutex);
  process_fields = fields;
}

void SetLogStep(int64_t step) {
  const absl::MutexLock lock(&fields_mutex);
  process_fields.step = step;
}

LogScope::LogScope(LogFields fields)
    : fields_(std::move(fields)), outer_(std::exchange(innermost, this)) {}

LogScope::~LogScope() { innermost = outer_; }

}  // namespace wavefield
