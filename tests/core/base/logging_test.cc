#include "core/base/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/support/random_inputs.h"

namespace wavefield {
namespace {

using ::testing::ElementsAre;
using ::testing::MatchesRegex;

class LoggingTest : public ::testing::Test {
 protected:
  void TearDown() override { SetLogFields({}); }

  // The lines that `log` writes.
  static std::vector<std::string> Lines(const LogOptions& options,
                                        const std::function<void()>& log) {
    ::testing::internal::CaptureStderr();
    StartLogging("tester", options);
    log();
    std::istringstream text(::testing::internal::GetCapturedStderr());
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }

  static std::vector<nlohmann::json> JsonLines(const std::function<void()>& log) {
    std::vector<nlohmann::json> objects;
    for (const std::string& line : Lines({.format = "json"}, log)) {
      objects.push_back(nlohmann::json::parse(line));
      objects.back().erase("time");
    }
    return objects;
  }
};

nlohmann::json Line(const std::string& level, const std::string& message,
                    const nlohmann::json& fields = nlohmann::json::object()) {
  nlohmann::json line = {{"level", level}, {"program", "tester"}, {"message", message}};
  line.update(fields);
  return line;
}

TEST_F(LoggingTest, JsonLinesHaveExactlyTheFieldsThatAreKnown) {
  const auto lines = JsonLines([] {
    spdlog::info("one {}", 1);
    SetLogFields({.job = "words", .rank = 0, .epoch = 3});
    spdlog::warn("two");
    SetLogStep(20);
    spdlog::error("three");
  });
  EXPECT_THAT(lines,
              ElementsAre(Line("info", "one 1"),
                          Line("warning", "two", {{"job", "words"}, {"rank", 0}, {"epoch", 3}}),
                          Line("error", "three",
                               {{"job", "words"}, {"rank", 0}, {"epoch", 3}, {"step", 20}})));
}

TEST_F(LoggingTest, TheTimeIsUtcWithMicroseconds) {
  const absl::Time before = absl::Now();
  const auto lines = Lines({.format = "json"}, [] { spdlog::info("now"); });
  ASSERT_EQ(lines.size(), 1u);
  const std::string text = nlohmann::json::parse(lines[0]).at("time");
  EXPECT_THAT(text, MatchesRegex("....-..-..T..:..:..[.]......Z"));
  absl::Time time;
  std::string error;
  ASSERT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << error;
  EXPECT_GE(time, before - absl::Microseconds(1));
  EXPECT_LE(time, absl::Now());
}

TEST_F(LoggingTest, NoMessageBreaksALineOrItsEncoding) {
  std::mt19937_64 random(testing::FreshSeed());
  std::uniform_int_distribution<int> byte(0, 255);
  const std::string forged = "\"}\n{\"level\":\"\\";
  for (int i = 0; i < 200; ++i) {
    std::string hostile = forged;
    for (int k = 0; k < 40; ++k) hostile.push_back(static_cast<char>(byte(random)));
    const auto lines = Lines({.format = "json"}, [&] { spdlog::info("{}", hostile); });
    ASSERT_EQ(lines.size(), 1u);
    // The parser refuses bytes that are not UTF-8.
    const auto line = nlohmann::json::parse(lines[0]);
    EXPECT_EQ(line.at("level"), "info");
    EXPECT_TRUE(line.at("message").get<std::string>().starts_with(forged)) << line;
  }
  const std::string valid("a\0b \x1b[31m\r\n\u2028 \"\\ \U0001F30A", 22);
  EXPECT_THAT(JsonLines([&] { spdlog::info("{}", valid); }), ElementsAre(Line("info", valid)));
}

TEST_F(LoggingTest, AScopeIsOfItsThreadAndTheInnermostCounts) {
  SetLogFields({.job = "process"});
  const auto lines = JsonLines([] {
    const LogScope outer({.job = "outer", .epoch = 1});
    {
      const LogScope inner({.job = "inner", .rank = 2});
      spdlog::info("inside");
      std::thread([] { spdlog::info("another thread"); }).join();
    }
    spdlog::info("outside");
  });
  EXPECT_THAT(lines, ElementsAre(Line("info", "inside", {{"job", "inner"}, {"rank", 2}}),
                                 Line("info", "another thread", {{"job", "process"}}),
                                 Line("info", "outside", {{"job", "outer"}, {"epoch", 1}})));
}

TEST_F(LoggingTest, TextHasTheFieldsOfTheProcessInFront) {
  const auto lines = Lines({}, [] {
    spdlog::info("plain");
    SetLogFields({.job = "words", .rank = 0, .epoch = 3, .step = 20});
    const LogScope scope({.job = "other"});
    spdlog::warn("about");
  });
  EXPECT_THAT(lines, ElementsAre(MatchesRegex("\\[.*\\] \\[tester\\] \\[info\\] plain"),
                                 MatchesRegex("\\[.*\\] \\[tester\\] \\[warning\\] "
                                              "\\[words epoch 3 rank 0 step 20\\] about")));
}

TEST_F(LoggingTest, LinesBelowTheLevelAreLeftOut) {
  for (const std::string format : {"text", "json"}) {
    const auto lines = Lines({.format = format, .level = "warn"}, [] {
      spdlog::info("no");
      spdlog::warn("yes");
    });
    EXPECT_EQ(lines.size(), 1u) << format;
  }
}

TEST_F(LoggingTest, FlagsTakeKnownValuesOnly) {
  const auto parse = [](std::string flag, std::string value) {
    LogOptions options;
    CLI::App app;
    AddLogFlags(app, options);
    app.parse(std::vector<std::string>{std::move(value), std::move(flag)});
    return options;
  };
  EXPECT_EQ(parse("--log-format", "json").format, "json");
  EXPECT_EQ(parse("--log-level", "debug").level, "debug");
  EXPECT_THROW(parse("--log-format", "xml"), CLI::ValidationError);
  EXPECT_THROW(parse("--log-level", "off"), CLI::ValidationError);
}

}  // namespace
}  // namespace wavefield
