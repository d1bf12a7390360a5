-- What is remembered of a capture. Packets are dissected in order once (pinfo.visited is false then), and later again in
-- any order: everything that depends on what came before is found out the first time, and kept.

local conversations -- by number of the TCP stream
local frames -- what was found out about a frame, by packet and place
local decisions -- whether a packet is ours

function crust.proto.init()
  conversations, frames, decisions = {}, {}, {}
  crust.latest_packet = 0
  crust.forget_statistics()
end

local stream_number = Field.new("tcp.stream")

local function direction_name(pinfo)
  return tostring(pinfo.src) .. " " .. pinfo.src_port
end

-- The conversation of a packet, the direction that the packet has, and the opposite one.
function crust.conversation_of(pinfo)
  local found = { stream_number() }
  local key = #found > 0 and found[#found].value or "none"
  local conversation = conversations[key]
  if not conversation then
    conversation = { directions = {} }
    conversations[key] = conversation
  end
  local name = direction_name(pinfo)
  local own = conversation.directions[name]
  if not own then
    own = { name = name, messages = 0, frames = 0, pings = {}, choices = {}, begun = false }
    conversation.directions[name] = own
  end
  local other
  for each, direction in pairs(conversation.directions) do
    if each ~= name then
      other = direction
    end
  end
  return conversation, own, other
end

-- Whether a packet is ours; with an answer, remember that.
function crust.decided(number, ours)
  decisions[number] = decisions[number] or ours
  return decisions[number]
end

-- What is known of the frame that begins at tvb; `make` finds it out the first time.
function crust.remembered(tvb, pinfo, make)
  local key = pinfo.number .. ":" .. tvb:offset() .. ":" .. tvb:len()
  local known = frames[key]
  if not known then
    known = {}
    frames[key] = known
    known.first = pinfo.number ~= crust.latest_packet
    crust.latest_packet = pinfo.number
    make(known)
  end
  return known
end

-- A part of a tvb that may be cut off in the capture: len() is what is there of it, reported_len() what there was.
local Part = {
  __index = {
    len = function(part)
      return part.there
    end,
    reported_len = function(part)
      return part.size
    end,
  },
  __call = function(part, at, size)
    at = at or 0
    return part.tvb(part.from + at, size or part.there - at)
  end,
}

function crust.part(tvb, from, size)
  local there = math.max(0, math.min(size, tvb:len() - from))
  return setmetatable({ tvb = tvb, from = from, size = size, there = there }, Part)
end
