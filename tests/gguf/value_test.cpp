// Metadata values: reading every type, and conversions between types.
#include "gguf/value.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/gguf/raw_builder.hpp"

namespace gemma::gguf {
namespace {

using test::RawBuilder;

/// A value with the bytes to which it refers.
struct Held {
  std::vector<std::byte> bytes;
  Value value;
};
Held hold(const RawBuilder& raw) {
  std::vector<std::byte> bytes = raw.bytes();  // moving the vector keeps their address
  Reader reader(bytes, "f");
  const Value value = Value::read(reader);
  EXPECT_EQ(reader.remaining(), 0u);
  return {std::move(bytes), value};
}
RawBuilder of_type(ValueType type) {
  return RawBuilder().u32(static_cast<std::uint32_t>(type));
}
RawBuilder array_of(ValueType element, std::uint64_t count) {
  return of_type(ValueType::kArray).u32(static_cast<std::uint32_t>(element)).u64(count);
}

template <typename T>
class Scalars : public testing::Test {};
using ScalarTypes = testing::Types<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t,
                                   std::int32_t, std::uint64_t, std::int64_t, float, double>;
TYPED_TEST_SUITE(Scalars, ScalarTypes);

TYPED_TEST(Scalars, ReadsItself) {
  using Limits = std::numeric_limits<TypeParam>;
  for (const TypeParam v : {TypeParam{0}, TypeParam{1}, Limits::lowest(), Limits::max()}) {
    const Held h = hold(of_type(value_type_of<TypeParam>()).put(v));
    EXPECT_EQ(h.value.type(), value_type_of<TypeParam>());
    EXPECT_EQ(h.value.template as<TypeParam>(), v);
    EXPECT_EQ(h.value.count(), 1u);
    EXPECT_EQ(h.value.bytes().size(), sizeof(TypeParam));
    EXPECT_FALSE(h.value.template as<bool>().has_value());
    EXPECT_FALSE(h.value.template as<std::string_view>().has_value());
    EXPECT_FALSE(h.value.template as<ArrayView>().has_value());
    EXPECT_FALSE(h.value.template as<std::vector<TypeParam>>().has_value());
  }
}

TYPED_TEST(Scalars, ReadsArraysOfItself) {
  using Limits = std::numeric_limits<TypeParam>;
  const std::vector<TypeParam> values = {TypeParam{3}, Limits::lowest(), Limits::max()};
  RawBuilder raw = array_of(value_type_of<TypeParam>(), values.size());
  for (const TypeParam v : values) raw.put(v);
  const Held h = hold(raw);
  EXPECT_EQ(h.value.type(), ValueType::kArray);
  EXPECT_EQ(h.value.element_type(), value_type_of<TypeParam>());
  EXPECT_EQ(h.value.count(), 3u);
  EXPECT_EQ(h.value.template as<std::vector<TypeParam>>(), values);
  EXPECT_EQ(h.value.template first<TypeParam>(1)->size(), 1u);
  EXPECT_EQ(h.value.template first<TypeParam>(99)->size(), 3u);
  EXPECT_FALSE(h.value.template as<TypeParam>().has_value());
  EXPECT_FALSE(h.value.template as<std::vector<std::string_view>>().has_value());
  const auto view = h.value.template as<ArrayView>();
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->count, 3u);
  EXPECT_EQ(view->bytes.size(), 3 * sizeof(TypeParam));
}

TEST(Value, IntegersConvertWithinRange) {
  const Held h = hold(of_type(ValueType::kI32).put(std::int32_t{-1}));
  EXPECT_EQ(h.value.as<std::int8_t>(), -1);
  EXPECT_EQ(h.value.as<std::int64_t>(), -1);
  EXPECT_FALSE(h.value.as<std::uint32_t>().has_value());
  EXPECT_FALSE(h.value.as<std::uint64_t>().has_value());
  EXPECT_FALSE(h.value.as<float>().has_value());

  const Held big = hold(of_type(ValueType::kU64).u64(1u << 20));
  EXPECT_EQ(big.value.as<std::int32_t>(), 1 << 20);
  EXPECT_FALSE(big.value.as<std::uint16_t>().has_value());
}

TEST(Value, AnIntegerArrayConvertsOnlyAsAWhole) {
  const Held h = hold(array_of(ValueType::kI32, 2).put(std::int32_t{5}).put(std::int32_t{-5}));
  EXPECT_EQ(h.value.as<std::vector<std::int64_t>>(), (std::vector<std::int64_t>{5, -5}));
  EXPECT_FALSE(h.value.as<std::vector<std::uint32_t>>().has_value());
  EXPECT_EQ(h.value.first<std::uint32_t>(1), std::vector<std::uint32_t>{5});
}

TEST(Value, FloatsConvertToFloats) {
  const Held h = hold(of_type(ValueType::kF64).put(1e-6));
  EXPECT_EQ(h.value.as<float>(), 1e-6f);
  EXPECT_FALSE(h.value.as<std::int32_t>().has_value());
  EXPECT_FALSE(hold(of_type(ValueType::kF64).put(1e300)).value.as<float>().has_value());
  EXPECT_EQ(hold(of_type(ValueType::kF64).put(-HUGE_VAL)).value.as<float>(), -HUGE_VALF);
  EXPECT_TRUE(std::isnan(*hold(of_type(ValueType::kF64).put(std::nan(""))).value.as<float>()));
  EXPECT_EQ(hold(of_type(ValueType::kF32).put(0.5f)).value.as<double>(), 0.5);
}

TEST(Value, AFloatArrayIsNoIntegerArray) {
  const Held h = hold(array_of(ValueType::kF32, 1).put(1.0f));
  EXPECT_FALSE(h.value.as<std::vector<std::int32_t>>().has_value());
  EXPECT_EQ(h.value.as<std::vector<double>>(), std::vector<double>{1.0});
}

TEST(Value, Bools) {
  for (const bool b : {false, true}) {
    const Held h = hold(of_type(ValueType::kBool).u8(b ? 1 : 0));
    EXPECT_EQ(h.value.as<bool>(), b);
    EXPECT_FALSE(h.value.as<std::uint8_t>().has_value());
  }
  const Held h = hold(array_of(ValueType::kBool, 3).u8(1).u8(0).u8(1));
  EXPECT_EQ(h.value.as<std::vector<bool>>(), (std::vector<bool>{true, false, true}));
}

TEST(Value, StringsInPlace) {
  const std::string text("a\0\xff", 3);
  const Held h = hold(of_type(ValueType::kString).string(text));
  EXPECT_EQ(h.value.as<std::string_view>(), text);
  EXPECT_EQ(h.value.as<std::string>(), text);
  EXPECT_EQ(reinterpret_cast<const std::byte*>(h.value.as<std::string_view>()->data()), h.bytes.data() + 12);
  EXPECT_EQ(hold(of_type(ValueType::kString).string("")).value.as<std::string>(), "");

  const Held array = hold(array_of(ValueType::kString, 3).string("").string(text).string("z"));
  EXPECT_EQ(array.value.as<std::vector<std::string>>(), (std::vector<std::string>{"", text, "z"}));
  EXPECT_EQ(array.value.as<std::vector<std::string_view>>()->at(1), text);
  EXPECT_EQ(array.value.first<std::string_view>(2)->size(), 2u);
  EXPECT_FALSE(array.value.as<std::vector<int>>().has_value());
}

TEST(Value, EmptyArrays) {
  for (const ValueType type : {ValueType::kU8, ValueType::kF64, ValueType::kString, ValueType::kBool}) {
    const Held h = hold(array_of(type, 0));
    EXPECT_EQ(h.value.count(), 0u);
    EXPECT_TRUE(h.value.bytes().empty());
  }
  EXPECT_TRUE(hold(array_of(ValueType::kString, 0)).value.as<std::vector<std::string>>()->empty());
}

TEST(Value, TypeNames) {
  EXPECT_EQ(hold(of_type(ValueType::kBool).u8(1)).value.type_name(), "bool");
  EXPECT_EQ(hold(array_of(ValueType::kString, 0)).value.type_name(), "array of string");
  EXPECT_EQ(type_name<std::uint32_t>(), "uint32");
  EXPECT_EQ(type_name<long long>(), "int64");
  EXPECT_EQ(type_name<std::vector<float>>(), "array of float32");
  EXPECT_EQ(type_name<std::vector<std::string_view>>(), "array of string");
  EXPECT_EQ(type_name<ArrayView>(), "array");
  EXPECT_EQ(to_string(static_cast<ValueType>(13)), "unknown");
  EXPECT_EQ(scalar_size(static_cast<ValueType>(13)), 0u);
  EXPECT_EQ(scalar_size(static_cast<ValueType>(0xFFFFFFFF)), 0u);
}

}  // namespace
}  // namespace gemma::gguf
