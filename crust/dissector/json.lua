-- A reader of JSON objects that knows where each member stands, and is as strict as the nodes are: no key twice, a
-- bounded depth, finite numbers, integers of at most 20 characters.

local MAX_DEPTH = 8
local INTEGER_CHARACTERS = 20

local value

local function fail(at, what)
  error({ at = at, what = what }, 0)
end

local function space(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function utf8_of(code)
  if code < 0x80 then
    return string.char(code)
  elseif code < 0x800 then
    return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end
  return string.char(
    0xF0 + math.floor(code / 262144),
    0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64,
    0x80 + code % 64
  )
end

local function unicode(text, at)
  local code = text:match("^%x%x%x%x", at)
  if not code then
    fail(at, "a wrong \\u escape")
  end
  code = tonumber(code, 16)
  local low = text:match("^\\u([dD][c-fC-F]%x%x)", at + 4)
  if code >= 0xD800 and code < 0xDC00 and low then
    return utf8_of(0x10000 + (code - 0xD800) * 1024 + tonumber(low, 16) - 0xDC00), at + 10
  end
  return utf8_of(code), at + 4
end

local function text_value(text, at)
  local parts = {}
  local from = at + 1
  while true do
    local stop = text:find('["\\%c]', from)
    if not stop then
      fail(at, "a text without an end")
    end
    parts[#parts + 1] = text:sub(from, stop - 1)
    local character = text:sub(stop, stop)
    if character == '"' then
      return table.concat(parts), stop + 1, "text"
    elseif character ~= "\\" then
      if character ~= "\127" then
        fail(stop, "a control character in a text")
      end
      parts[#parts + 1] = character
      from = stop + 1
    elseif text:sub(stop + 1, stop + 1) == "u" then
      parts[#parts + 1], from = unicode(text, stop + 2)
    else
      local escaped = ESCAPES[text:sub(stop + 1, stop + 1)]
      if not escaped then
        fail(stop, "a wrong escape")
      end
      parts[#parts + 1] = escaped
      from = stop + 2
    end
  end
end

local function number_value(text, at)
  local digits = text:match("^-?%d+", at)
  local whole = digits and (text:match("^-?[1-9]%d*", at) or text:match("^-?0", at))
  if not whole or #whole ~= #digits then
    fail(at, "a value that is none")
  end
  local rest = text:match("^%.%d+", at + #whole) or ""
  rest = rest .. (text:match("^[eE][+-]?%d+", at + #whole + #rest) or "")
  if rest == "" then
    if #whole > INTEGER_CHARACTERS then
      fail(at, "an integer of more than " .. INTEGER_CHARACTERS .. " characters")
    end
    return whole, at + #whole, "integer" -- as text: 64 bits fit no Lua number of old
  end
  local number = tonumber(whole .. rest)
  if number == math.huge or number == -math.huge then
    fail(at, "a number that is not finite")
  end
  return number, at + #whole + #rest, "number"
end

local function list_value(text, at, depth)
  local items = {}
  at = space(text, at + 1)
  if text:sub(at, at) == "]" then
    return items, at + 1, "list"
  end
  while true do
    local item = { from = at }
    item.value, item.stop, item.kind = value(text, at, depth)
    items[#items + 1] = item
    at = space(text, item.stop)
    local character = text:sub(at, at)
    if character == "]" then
      return items, at + 1, "list"
    elseif character ~= "," then
      fail(at, "a list that does not go on")
    end
    at = space(text, at + 1)
  end
end

local function object_value(text, at, depth)
  local members, keys = {}, {}
  at = space(text, at + 1)
  if text:sub(at, at) == "}" then
    return members, at + 1, "object"
  end
  while true do
    if text:sub(at, at) ~= '"' then
      fail(at, "a key is missing")
    end
    local member = { key_from = at }
    member.key, at = text_value(text, at)
    if keys[member.key] then
      fail(member.key_from, "a key comes twice")
    end
    keys[member.key] = true
    at = space(text, at)
    if text:sub(at, at) ~= ":" then
      fail(at, "a colon is missing")
    end
    member.from = space(text, at + 1)
    member.value, member.stop, member.kind = value(text, member.from, depth)
    members[#members + 1] = member
    members[member.key] = member
    at = space(text, member.stop)
    local character = text:sub(at, at)
    if character == "}" then
      return members, at + 1, "object"
    elseif character ~= "," then
      fail(at, "an object that does not go on")
    end
    at = space(text, at + 1)
  end
end

local WORDS = { ["true"] = true, ["false"] = false, ["null"] = "null" }

function value(text, at, depth)
  local character = text:sub(at, at)
  if character == '"' then
    return text_value(text, at)
  elseif character == "{" or character == "[" then
    if depth >= MAX_DEPTH then
      fail(at, "more than " .. MAX_DEPTH .. " levels")
    end
    return (character == "{" and object_value or list_value)(text, at, depth + 1)
  end
  local word = text:match("^%l+", at)
  if word and WORDS[word] ~= nil then
    return WORDS[word], at + #word, word == "null" and "null" or "bool"
  end
  return number_value(text, at)
end

-- Where a text is not UTF-8 (RFC 3629), from 1; nil if it is.
local function not_utf8(text)
  local at = 1
  while at <= #text do
    local first, second = text:byte(at, at + 1)
    local more = first < 0x80 and 0 or first < 0xC2 and -1 or first < 0xE0 and 1 or first < 0xF0 and 2 or first < 0xF5 and 3 or -1
    if more < 0 or not text:find("^" .. ("[\128-\191]"):rep(more), at + 1) then
      return at
    end
    local too_long = first == 0xE0 and second < 0xA0 or first == 0xF0 and second < 0x90
    if too_long or first == 0xED and second > 0x9F or first == 0xF4 and second > 0x8F then
      return at
    end
    at = at + 1 + more
  end
end

-- The members of a JSON object: a list of {key, value, kind, from, stop}, also by key; positions from 1, stop after the
-- last character. Or nil, what is wrong, and where.
function crust.read_object(text)
  local good, found, stop = pcall(function()
    local broken = not_utf8(text)
    if broken then
      fail(broken, "not UTF-8")
    end
    local at = space(text, 1)
    if text:sub(at, at) ~= "{" then
      fail(at, "not a JSON object")
    end
    local members, after = value(text, at, 0)
    after = space(text, after)
    if after <= #text then
      fail(after, "something after the object")
    end
    return members
  end)
  if good then
    return found
  end
  if type(found) ~= "table" then
    error(found, 0)
  end
  return nil, found.what, found.at
end
