#include "coordinator/rpc/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "tests/support/random_inputs.h"

namespace wavefield::coordinator {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Kind = FilterField::Kind;

const std::vector<FilterField> kFields = {
    {"name", Kind::kText},   {"labels.*", Kind::kText},
    {"step", Kind::kNumber}, {"create_time", Kind::kTime},
    {"pinned", Kind::kBool}, {"state", Kind::kEnum, {"QUEUED", "RUNNING"}}};

using Resource = std::map<std::string, FilterValue>;

FilterLookup LookupIn(const Resource& resource) {
  return [&](const std::string& field) {
    const auto found = resource.find(field);
    return found == resource.end() ? FilterValue() : found->second;
  };
}

bool Selects(const std::string& text, const Resource& resource) {
  const auto filter = Filter::Parse(text, kFields);
  EXPECT_TRUE(filter.ok()) << text << ": " << filter.status();
  return filter.ok() && filter->Matches(LookupIn(resource));
}

std::string ErrorOf(const std::string& text) {
  const auto filter = Filter::Parse(text, kFields);
  EXPECT_EQ(filter.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(filter.status().message());
}

const Resource kOne = {{"name", std::string("wave-7")},
                       {"labels.team", std::string("a b")},
                       {"step", 40.0},
                       {"create_time", absl::FromUnixSeconds(1'700'000'000)},
                       {"pinned", true},
                       {"state", std::string("RUNNING")}};

TEST(Filter, SelectsByEveryKindOfField) {
  for (const char* text :
       {"", "  ", "name=wave-7", "name=wave*", "name=*", "name!=x*", "step=40", "step>=4e1",
        "step > 39.5 AND step<41", "labels.team=\"a b\"", "labels.team=\"a*\"", "labels.other!=x",
        "create_time>2023-11-14T22:13:19.9Z", "create_time=2023-11-14T23:13:20+01:00",
        "pinned=true", "state!=QUEUED AND state=RUNNING", "  name = wave-7  AND  step != 4  "}) {
    EXPECT_TRUE(Selects(text, kOne)) << text;
  }
  for (const char* text : {"name=wave", "name!=wave*", "name=wave-7 AND step<40", "labels.other=x",
                           "labels.other=*", "create_time<2023-11-14T22:13:20Z", "pinned!=true",
                           "state=QUEUED", "labels.team=\"a\\*\""}) {
    EXPECT_FALSE(Selects(text, kOne)) << text;
  }
}

TEST(Filter, WhatIsNotThereMatchesNotEqualAlone) {
  for (const FilterValue& nothing : {FilterValue(), FilterValue(std::nan(""))}) {
    for (const char* op : {"=", "<", "<=", ">", ">="}) {
      EXPECT_FALSE(Selects(std::string("step") + op + "3", {{"step", nothing}})) << op;
    }
    EXPECT_TRUE(Selects("step!=3", {{"step", nothing}}));
  }
}

TEST(Filter, ErrorsNameTheConditionAndWhatIsAllowed) {
  EXPECT_THAT(ErrorOf("stepp=3"), AllOf(HasSubstr("filter"), HasSubstr("'stepp=3'"),
                                        HasSubstr("did you mean 'step'"), HasSubstr("labels.*")));
  EXPECT_THAT(ErrorOf("name<x"), HasSubstr("operator '<'; allowed for name: =, !="));
  EXPECT_THAT(ErrorOf("step==3"), HasSubstr("operator '=='"));
  EXPECT_THAT(ErrorOf("step=many"), HasSubstr("does not compare with a number"));
  EXPECT_THAT(ErrorOf("step=1*"), HasSubstr("only texts are matched by a prefix"));
  EXPECT_THAT(ErrorOf("step=nan"), HasSubstr("number"));
  EXPECT_THAT(ErrorOf("create_time>yesterday"), HasSubstr("RFC 3339"));
  EXPECT_THAT(ErrorOf("create_time>infinite-future"), HasSubstr("RFC 3339"));
  EXPECT_THAT(ErrorOf("pinned=yes"), HasSubstr("neither true nor false"));
  EXPECT_THAT(ErrorOf("state=running"), HasSubstr("QUEUED, RUNNING"));
  EXPECT_THAT(ErrorOf("labels.=x"), HasSubstr("unknown field"));
  EXPECT_THAT(ErrorOf("name=\"x"), HasSubstr("closing double quote"));
  EXPECT_THAT(ErrorOf("name=\"x\\"), HasSubstr("closing double quote"));
  EXPECT_THAT(ErrorOf("name=x\"y"), HasSubstr("double quote amid"));
  EXPECT_THAT(ErrorOf("name="), HasSubstr("has no value"));
  EXPECT_THAT(ErrorOf("name"), HasSubstr("has no operator"));
  EXPECT_THAT(ErrorOf("=x"), HasSubstr("has no field"));
  for (const char* text : {"step=3 step=4", "step=3 OR step=4", "step=3 AND", "AND step=3",
                           "name=\"x\"AND step=3", "step=3 and step=4"}) {
    ErrorOf(text);
  }
  EXPECT_THAT(ErrorOf(std::string(4097, ' ')), HasSubstr("4097 bytes; at most 4096"));
  std::string many = "step=0";
  for (int i = 1; i < 32; ++i) many += " AND step=0";
  EXPECT_FALSE(Selects(many, kOne));
  EXPECT_THAT(ErrorOf(many + " AND step=0"), HasSubstr("more than 32 conditions"));
}

// A filter drawn at random, as text, and what it selects, worked out on the way.
class RandomFilter {
 public:
  explicit RandomFilter(uint64_t seed) : random_(seed) {}

  Resource DrawResource() {
    Resource resource;
    if (Chance(0.8)) resource["name"] = DrawText();
    if (Chance(0.8)) resource["labels.k"] = DrawText();
    if (Chance(0.8)) resource["step"] = DrawNumber();
    if (Chance(0.8)) resource["create_time"] = DrawTime();
    if (Chance(0.8)) resource["pinned"] = Chance(0.5);
    if (Chance(0.8)) resource["state"] = std::string(Chance(0.5) ? "QUEUED" : "RUNNING");
    return resource;
  }

  // The text of a condition; `matches` becomes whether the resource meets it.
  std::string Condition(const Resource& resource, bool& matches) {
    static const char* const fields[] = {"name",        "labels.k", "step",
                                         "create_time", "pinned",   "state"};
    const std::string field = fields[Between(0, 5)];
    const auto found = resource.find(field);
    const bool ordered = field == "step" || field == "create_time";
    const int op = Between(0, ordered ? 5 : 1);
    std::string value;
    int compared = 0;
    const auto compare = [&](const auto& drawn) {
      if (found == resource.end()) return;
      const auto& had = std::get<std::decay_t<decltype(drawn)>>(found->second);
      compared = had < drawn ? -1 : drawn < had ? 1 : 0;
    };
    if (field == "step") {
      const double number = DrawNumber();
      compare(number);
      value = std::to_string(number);
    } else if (field == "create_time") {
      const absl::Time time = DrawTime();
      compare(time);
      value =
          absl::FormatTime(absl::RFC3339_full, time, absl::FixedTimeZone(60 * Between(-90, 90)));
    } else if (field == "pinned") {
      const bool truth = Chance(0.5);
      compare(truth);
      value = truth ? "true" : "false";
    } else if (field == "state") {
      value = Chance(0.5) ? "QUEUED" : "RUNNING";
      compare(value);
    } else {
      const std::string text = DrawText();
      const bool prefix = Chance(0.4);
      compare(text);
      if (prefix && found != resource.end()) {
        const auto& had = std::get<std::string>(found->second);
        compared =
            std::mismatch(text.begin(), text.end(), had.begin(), had.end()).first == text.end() ? 0
                                                                                                : 1;
      }
      value = Quoted(text, prefix);
    }
    static const char* const ops[] = {"=", "!=", "<", "<=", ">", ">="};
    const bool met[] = {compared == 0, compared != 0, compared<0, compared <= 0, compared> 0,
                        compared >= 0};
    matches = found == resource.end() ? op == 1 : met[op];
    return field + Spaces() + ops[op] + Spaces() + value;
  }

  std::string Spaces() { return std::string(static_cast<size_t>(Between(0, 2)), ' '); }
  int Between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  std::mt19937_64& random() { return random_; }

 private:
  bool Chance(double probability) { return std::bernoulli_distribution(probability)(random_); }
  double DrawNumber() { return Between(-4, 4) * 0.25; }
  absl::Time DrawTime() { return absl::FromUnixMillis(1'700'000'000'000 + Between(-2, 2)); }
  std::string DrawText() {
    static const char* const parts[] = {"a", "b", " ", "\"", "\\", "*", "AND", "=", "é"};
    std::string text;
    for (int i = Between(0, 3); i > 0; --i) text += parts[Between(0, 8)];
    return text;
  }
  std::string Quoted(const std::string& text, bool prefix) {
    const bool plain = !text.empty() && text.find_first_of(" \"") == std::string::npos &&
                       text.find_first_of("=!<>") != 0 && text.back() != '*' && Chance(0.5);
    if (plain) return text + (prefix ? "*" : "");
    std::string quoted = "\"";
    for (size_t i = 0; i < text.size(); ++i) {
      const bool last_star = text[i] == '*' && i + 1 == text.size();
      if (text[i] == '"' || text[i] == '\\' || last_star) quoted += '\\';
      quoted += text[i];
    }
    return quoted + (prefix ? "*" : "") + "\"";
  }

  std::mt19937_64 random_;
};

TEST(Filter, RandomFiltersSelectWhatTheyWereMadeToSelect) {
  RandomFilter random(wavefield::testing::FreshSeed());
  int selected = 0;
  for (int i = 0; i < 20'000; ++i) {
    const Resource resource = random.DrawResource();
    std::string text;
    bool all = true;
    for (int conditions = random.Between(1, 4); conditions > 0; --conditions) {
      bool matches = false;
      const std::string condition = random.Condition(resource, matches);
      text += (text.empty() ? "" : " AND ") + random.Spaces() + condition;
      all = all && matches;
    }
    ASSERT_EQ(Selects(text, resource), all) << text;
    selected += all ? 1 : 0;
  }
  EXPECT_GT(selected, 1000);
}

TEST(Filter, DamagedTextsAreParsedOrRefusedInWords) {
  RandomFilter random(wavefield::testing::FreshSeed());
  static const char kBytes[] = "\"\\*=<>! ANDname.\x01\x7f";
  for (int i = 0; i < 20'000; ++i) {
    bool matches = false;
    std::string text = random.Condition({}, matches) + " AND " + random.Condition({}, matches);
    std::erase_if(text, [](unsigned char c) { return c >= 0x80; });  // requests are valid UTF-8
    for (int edits = random.Between(1, 4); edits > 0 && !text.empty(); --edits) {
      const auto at = static_cast<size_t>(random.Between(0, static_cast<int>(text.size()) - 1));
      if (random.Between(0, 1) == 0) {
        text.erase(at, static_cast<size_t>(random.Between(1, 5)));
      } else {
        text.insert(at, 1, kBytes[random.Between(0, sizeof kBytes - 2)]);
      }
    }
    const auto filter = Filter::Parse(text, kFields);
    if (filter.ok()) {
      filter->Matches(LookupIn(kOne));
    } else {
      EXPECT_EQ(filter.status().code(), absl::StatusCode::kInvalidArgument) << text;
      EXPECT_LT(filter.status().message().size(), 700u);
    }
  }
}

TEST(ListOrder, PutsWhatHasNoValueLastEitherWay) {
  const std::vector<std::string> fields = {"step", "create_time"};
  const FilterValue one(1.0), two(2.0), nothing, none(std::nan(""));
  const auto up = ListOrder::Parse("step", "create_time desc", fields);
  const auto down = ListOrder::Parse("step desc", "create_time desc", fields);
  ASSERT_TRUE(up.ok() && down.ok());
  EXPECT_TRUE(up->Before(one, two) && !up->Before(two, one) && !up->Before(one, one));
  EXPECT_TRUE(down->Before(two, one) && !down->Before(one, two) && !down->Before(one, one));
  for (const auto& order : {*up, *down}) {
    for (const FilterValue& last : {nothing, none}) {
      EXPECT_TRUE(order.Before(one, last) && !order.Before(last, one));
      EXPECT_FALSE(order.Before(last, nothing) || order.Before(nothing, last));
    }
  }
  const auto otherwise = ListOrder::Parse("", "create_time desc", fields);
  ASSERT_TRUE(otherwise.ok());
  EXPECT_EQ(otherwise->field, "create_time");
  EXPECT_TRUE(otherwise->descending);
  for (const char* text : {"steps", "step asc", "desc", " desc", "step  desc", "step desc desc"}) {
    EXPECT_THAT(std::string(ListOrder::Parse(text, "step", fields).status().message()),
                AllOf(HasSubstr("order_by"), HasSubstr("step, create_time")))
        << text;
  }
}

}  // namespace
}  // namespace wavefield::coordinator
