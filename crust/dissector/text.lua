-- Whether bytes are text for people, and how much of it a line of the tree shows.

local LABEL_BYTES = 60 -- of a text in the label of a message
local SHOWN = { ["\t"] = "\\t", ["\r"] = "\\r", ["\n"] = "\\n" }

-- The least and the greatest second byte after the first bytes that narrow it: no character has two encodings, none is
-- half of a surrogate pair, none is beyond the last one, and none is a control character of the upper half.
local SECOND = { [0xC2] = { 0xA0, 0xBF }, [0xE0] = { 0xA0, 0xBF }, [0xED] = { 0x80, 0x9F }, [0xF0] = { 0x90, 0xBF } }
SECOND[0xF4] = { 0x80, 0x8F }
local ANY = { 0x80, 0xBF }

-- The bytes of the character of UTF-8 that begins at a byte of the upper half; nothing where none does.
local function size_at(text, at)
  local first, second = text:byte(at, at + 1)
  local size = first >= 0xC2 and (first < 0xE0 and 2 or first < 0xF0 and 3 or first < 0xF5 and 4) or nil
  local range = SECOND[first] or ANY
  if not size or not second or second < range[1] or second > range[2] then
    return nil
  end
  return #text:match("^[\128-\191]*", at + 1) >= size - 1 and size or nil
end

-- The text that a range of bytes is: UTF-8 without control characters but tabs and ends of lines. Nothing if it is none.
function crust.text_of(range)
  local text = range:raw()
  if #text == 0 or text:find("\0", 1, true) or text:find("[\1-\8\11\12\14-\31\127]") then
    return nil
  end
  local at = text:find("[\128-\255]")
  while at do
    local size = size_at(text, at)
    if not size then
      return nil
    end
    at = text:find("[\128-\255]", at + size)
  end
  return text
end

-- Its beginning in quotes, on one line.
function crust.label_of(text)
  local stop = LABEL_BYTES
  while #text > stop and text:find("^[\128-\191]", stop + 1) do
    stop = stop - 1 -- not in the middle of a character
  end
  return '"' .. text:sub(1, stop):gsub("[\t\r\n]", SHOWN) .. (#text > stop and '..."' or '"')
end
