#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

namespace wavefield {

// Numbers as protobuf's JSON form writes them: 64-bit integers as strings, "NaN" and "Infinity" for
// what JSON cannot say. Readers accept plain numbers too and throw std::exception on anything else.
int64_t IntegerFromJson(const nlohmann::json& value);
uint64_t UnsignedFromJson(const nlohmann::json& value);
double NumberFromJson(const nlohmann::json& value);
nlohmann::json NumberToJson(double value);

}  // namespace wavefield
