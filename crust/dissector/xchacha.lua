-- XChaCha20 (draft-irtf-cfrg-xchacha, RFC 8439) to look into a beacon: 32-bit arithmetic that any version of Lua does.
-- The tag is not checked: that what comes out makes sense says as much here.

local bits = bit32 or bit
local band, bxor, lshift, rshift, bor
if bits then
  band, bxor, lshift, rshift, bor = bits.band, bits.bxor, bits.lshift, bits.rshift, bits.bor
else -- Lua 5.3 and newer have operators, which older ones cannot read
  local operators = load([[
    local band = function(a, b) return a & b end
    return band, function(a, b) return a ~ b end, function(a, n) return (a << n) & 0xFFFFFFFF end,
      function(a, n) return (a & 0xFFFFFFFF) >> n end, function(a, b) return a | b end]])
  band, bxor, lshift, rshift, bor = operators()
end

local function word(number)
  return number % 4294967296 -- `bit` gives negative numbers for the upper half
end

local function rotated(number, by)
  return word(bor(lshift(number, by), rshift(number, 32 - by)))
end

local function quarter(s, a, b, c, d)
  s[a] = word(s[a] + s[b]) s[d] = rotated(word(bxor(s[d], s[a])), 16)
  s[c] = word(s[c] + s[d]) s[b] = rotated(word(bxor(s[b], s[c])), 12)
  s[a] = word(s[a] + s[b]) s[d] = rotated(word(bxor(s[d], s[a])), 8)
  s[c] = word(s[c] + s[d]) s[b] = rotated(word(bxor(s[b], s[c])), 7)
end

local function words_of(text)
  local words = {}
  for at = 1, #text, 4 do
    local a, b, c, d = text:byte(at, at + 3)
    words[#words + 1] = a + b * 256 + c * 65536 + d * 16777216
  end
  return words
end

local function bytes_of(number)
  local a = number % 256
  local b = math.floor(number / 256) % 256
  local c = math.floor(number / 65536) % 256
  return string.char(a, b, c, math.floor(number / 16777216))
end

local CONSTANTS = words_of("expand 32-byte k")

local function state_of(key, last_four)
  local state = {}
  for _, part in ipairs({ CONSTANTS, words_of(key), last_four }) do
    for _, each in ipairs(part) do
      state[#state + 1] = each
    end
  end
  return state
end

local function mixed(state)
  local s = {}
  for index, each in ipairs(state) do
    s[index] = each
  end
  for _ = 1, 10 do
    quarter(s, 1, 5, 9, 13) quarter(s, 2, 6, 10, 14) quarter(s, 3, 7, 11, 15) quarter(s, 4, 8, 12, 16)
    quarter(s, 1, 6, 11, 16) quarter(s, 2, 7, 12, 13) quarter(s, 3, 8, 9, 14) quarter(s, 4, 5, 10, 15)
  end
  return s
end

local function subkey(key, nonce)
  local s, parts = mixed(state_of(key, words_of(nonce))), {}
  for _, index in ipairs({ 1, 2, 3, 4, 13, 14, 15, 16 }) do
    parts[#parts + 1] = bytes_of(s[index])
  end
  return table.concat(parts)
end

-- What a key of 32 bytes and a nonce of 24 make of a sealed text (without its tag); it may be nonsense.
function crust.xchacha20(key, nonce, sealed)
  local inner = subkey(key, nonce:sub(1, 16))
  local tail = words_of(nonce:sub(17, 24))
  local parts = {}
  for at = 1, #sealed, 64 do
    local state = state_of(inner, { (at - 1) / 64 + 1, 0, tail[1], tail[2] })
    local s, stream = mixed(state), {}
    for index, each in ipairs(s) do
      stream[index] = bytes_of(word(each + state[index]))
    end
    stream = table.concat(stream)
    for index = at, math.min(at + 63, #sealed) do
      parts[index] = string.char(word(bxor(sealed:byte(index), stream:byte(index - at + 1))))
    end
  end
  return table.concat(parts)
end
