#include "cli/spec_editing.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/json_errors.h"
#include "core/base/status_macros.h"
#include "core/base/suggest.h"
#include "proto/rpc/json.h"
#include "proto/rpc/status.h"

namespace wavefield {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

const FieldDescriptor* FindField(const Descriptor& type, const std::string& key) {
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i)->name() == key || type.field(i)->json_name() == key) return type.field(i);
  }
  return nullptr;
}

std::vector<std::string> FieldNames(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  return names;
}

bool IsGroup(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_map() &&
         !field.is_repeated();
}

// Full paths of the fields called `key`, at any depth.
void CollectPaths(const Descriptor& type, const std::string& key, const std::string& prefix,
                  std::vector<std::string>& paths) {
  if (const FieldDescriptor* field = FindField(type, key)) paths.push_back(prefix + field->name());
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (IsGroup(field))
      CollectPaths(*field.message_type(), key, prefix + field.name() + ".", paths);
  }
}

// Where `key` may have been meant to go: nearby names in `type`, or the same name elsewhere.
std::string Suggestion(const Descriptor& root, const Descriptor& type, const std::string& key) {
  const std::vector<std::string> names = FieldNames(type);
  const std::string nearest = SuggestNearest(key, names);
  if (!nearest.empty()) return nearest;
  std::vector<std::string> paths;
  CollectPaths(root, key, "", paths);
  if (!paths.empty()) return fmt::format("did you mean '{}'?", absl::StrJoin(paths, "', '"));
  return "known here: " + absl::StrJoin(names, ", ");
}

void CollectUnknownKeys(const nlohmann::json& json, const Descriptor& root, const Descriptor& type,
                        const std::string& prefix, google::rpc::BadRequest& violations) {
  if (!json.is_object()) return;
  for (const auto& [key, value] : json.items()) {
    const FieldDescriptor* field = FindField(type, key);
    if (field == nullptr) {
      auto* violation = violations.add_field_violations();
      violation->set_field(prefix + key);
      violation->set_description("unknown key; " + Suggestion(root, type, key));
    } else if (IsGroup(*field)) {
      CollectUnknownKeys(value, root, *field->message_type(), prefix + field->name() + ".",
                         violations);
    }
  }
}

std::string TypeName(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return "a whole number of 32 bits";
    case FieldDescriptor::CPPTYPE_INT64:
      return "a whole number of 64 bits";
    case FieldDescriptor::CPPTYPE_UINT64:
      return "a non-negative whole number of 64 bits";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return "a number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    default:
      return "text";
  }
}

template <typename Value>
using Setter = void (Reflection::*)(Message*, const FieldDescriptor*, Value) const;

// Sets a field, or adds to a list of them. False when `text` is not of the type that `parse` reads.
template <typename Value, typename Parse>
bool Store(Message& message, const FieldDescriptor& field, const std::string& text, Parse parse,
           Setter<Value> set, Setter<Value> add) {
  Value value{};
  if (!parse(text, &value)) return false;
  const Reflection& reflection = *message.GetReflection();
  (reflection.*(field.is_repeated() ? add : set))(&message, &field, std::move(value));
  return true;
}

bool StoreValue(Message& message, const FieldDescriptor& field, const std::string& text) {
  const auto integer = [](const std::string& t, auto* v) { return absl::SimpleAtoi(t, v); };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return Store<int32_t>(message, field, text, integer, &Reflection::SetInt32,
                            &Reflection::AddInt32);
    case FieldDescriptor::CPPTYPE_INT64:
      return Store<int64_t>(message, field, text, integer, &Reflection::SetInt64,
                            &Reflection::AddInt64);
    case FieldDescriptor::CPPTYPE_UINT64:
      return Store<uint64_t>(message, field, text, integer, &Reflection::SetUInt64,
                             &Reflection::AddUInt64);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Store<double>(
          message, field, text,
          [](const std::string& t, double* v) { return absl::SimpleAtod(t, v); },
          &Reflection::SetDouble, &Reflection::AddDouble);
    case FieldDescriptor::CPPTYPE_BOOL:
      return Store<bool>(
          message, field, text,
          [](const std::string& t, bool* v) { return absl::SimpleAtob(t, v); },
          &Reflection::SetBool, &Reflection::AddBool);
    case FieldDescriptor::CPPTYPE_STRING:
      return Store<std::string>(
          message, field, text,
          [](const std::string& t, std::string* v) {
            *v = t;
            return true;
          },
          &Reflection::SetString, &Reflection::AddString);
    default:
      return false;
  }
}

void StoreMapEntry(Message& message, const FieldDescriptor& field, const std::string& key,
                   const std::string& value) {
  Message* entry = message.GetReflection()->AddMessage(&message, &field);
  const Descriptor& type = *field.message_type();
  entry->GetReflection()->SetString(entry, type.map_key(), key);
  entry->GetReflection()->SetString(entry, type.map_value(), value);
}

std::vector<std::string> ListElements(std::string text) {
  if (text.starts_with("[") && text.ends_with("]")) text = text.substr(1, text.size() - 2);
  std::vector<std::string> elements;
  for (const auto& element : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    elements.emplace_back(absl::StripAsciiWhitespace(element));
  }
  return elements;
}

}  // namespace

absl::Status ParseSpec(const std::string& json, const std::string& source, v1::JobSpec& spec) {
  const auto fail = [&](const std::string& what) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", source, what));
  };
  nlohmann::json parsed;
  try {
    parsed = nlohmann::json::parse(json);
  } catch (const nlohmann::json::exception& error) {
    return fail("not valid JSON: " + JsonErrorText(error));
  }
  const bool is_job = parsed.contains("spec") && parsed.contains("name");
  if (is_job) parsed = nlohmann::json(parsed["spec"]);
  if (!parsed.is_object()) return fail("a job's specification is a JSON object");
  google::rpc::BadRequest violations;
  const Descriptor& type = *spec.GetDescriptor();
  CollectUnknownKeys(parsed, type, type, "", violations);
  if (violations.field_violations_size() > 0) {
    absl::Status status = fail("unknown keys in the specification");
    AttachDetail(status, violations);
    return status;
  }
  const absl::Status status = FromJson(is_job ? parsed.dump() : json, spec);
  return status.ok() ? status : fail(std::string(status.message()));
}

absl::Status SetField(const std::string& assignment, Message& message, const std::string& flag) {
  const auto fail = [&](const std::string& what) {
    return absl::InvalidArgumentError(
        fmt::format("{} {}: {}", flag, assignment.substr(0, 200), what));
  };
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos) return fail("expected path.to.field=value");
  const std::string value = assignment.substr(equals + 1);
  const std::vector<std::string> path = absl::StrSplit(assignment.substr(0, equals), '.');

  const Descriptor& root = *message.GetDescriptor();
  Message* target = &message;
  for (size_t i = 0; i < path.size(); ++i) {
    const Descriptor& type = *target->GetDescriptor();
    const std::string here = absl::StrJoin(path.begin(), path.begin() + static_cast<long>(i), ".");
    const FieldDescriptor* field = FindField(type, path[i]);
    if (field == nullptr) {
      return fail(fmt::format("{} has no field '{}'; {}",
                              here.empty() ? "a job's specification" : here, path[i],
                              Suggestion(root, type, path[i])));
    }
    const bool last = i + 1 == path.size();
    if (field->is_map()) {
      if (last) return fail(fmt::format("name an entry: {}.KEY=VALUE", field->name()));
      StoreMapEntry(*target, *field,
                    absl::StrJoin(path.begin() + static_cast<long>(i) + 1, path.end(), "."), value);
      return absl::OkStatus();
    }
    if (IsGroup(*field)) {
      if (last) {
        return fail(fmt::format("{} is a group; set one of its fields: {}", field->name(),
                                absl::StrJoin(FieldNames(*field->message_type()), ", ")));
      }
      target = target->GetReflection()->MutableMessage(target, field);
      continue;
    }
    if (!last) return fail(fmt::format("{} is {}, it has no fields", path[i], TypeName(*field)));
    std::vector<std::string> values = {value};
    if (field->is_repeated()) {
      values = ListElements(value);
      target->GetReflection()->ClearField(target, field);
    }
    for (const std::string& text : values) {
      if (!StoreValue(*target, *field, text)) {
        return fail(fmt::format("'{}' is not {}, which {} takes", text, TypeName(*field),
                                field->full_name().substr(root.file()->package().size() + 1)));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace wavefield
