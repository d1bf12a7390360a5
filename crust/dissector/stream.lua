-- Tracer connections on TCP: the magic, frames however segments cut them, and how Wireshark finds out that it is Crust.

local f, e = crust.f, crust.e
local proto = crust.proto

local MAGIC = "CRUST TRACER\r\n\26\0"
local MAGIC_BEGIN = 4 -- bytes; as the header of a frame they would be one of 5 MiB, which there is not
local SURE = 5 -- bytes of the magic by which the first segment of a connection is recognised

local function has_magic(tvb, at)
  return tvb:len() - at >= MAGIC_BEGIN and tvb(at, MAGIC_BEGIN):raw() == MAGIC:sub(1, MAGIC_BEGIN)
end

local function size_of_next(tvb, pinfo, at)
  local there = tvb:len() - at
  if has_magic(tvb, at) then
    return #MAGIC
  elseif there < crust.HEADER_SIZE then
    return math.max(tvb:reported_len() - at, crust.HEADER_SIZE) -- less would be an error of Wireshark's
  end
  local good, size = crust.frame_size(tvb(at, 1):uint(), tvb(at + 1, 3):le_uint())
  return good and size or tvb:reported_len() - at
end

local function show_magic(tvb, pinfo, root)
  local tree = root:add(proto, tvb(), "Crust tracer connection, in clear text")
  tree:add(f.magic, tvb())
  if tvb:len() < #MAGIC then
    tree:add_proto_expert_info(e.cut, "the magic is cut off in the capture")
  elseif tvb():raw() ~= MAGIC then
    tree:add_proto_expert_info(e.malformed, "it begins like the magic of a tracer connection, and is not")
  end
  return "tracer begins", crust.remembered(tvb, pinfo, function() end)
end

local function show_garbage(tvb, pinfo, root)
  local tree = root:add(proto, tvb(), string.format("Crust: %d bytes that are no frame", tvb:reported_len()))
  if tvb:len() > 0 then
    tree:add(f.garbage, tvb())
  end
  tree:add_proto_expert_info(
    e.lost,
    "no frame begins here: segments are missing or out of order (see the preferences of TCP), or a peer sent garbage"
  )
  return "no frame", crust.remembered(tvb, pinfo, function() end)
end

local function show_cut(tvb, pinfo, root)
  local tree = root:add(proto, tvb(), "Crust frame")
  tree:add_proto_expert_info(e.cut, "the header of a frame is cut off in the capture")
  return "cut off", crust.remembered(tvb, pinfo, function() end)
end

local function dissect_next(tvb, pinfo, root)
  local show = crust.dissect_frame
  if has_magic(tvb, 0) then
    show = show_magic
  elseif tvb:len() < crust.HEADER_SIZE then
    show = show_cut
  elseif not crust.frame_size(tvb(0, 1):uint(), tvb(1, 3):le_uint()) then
    show = show_garbage
  end
  local summary, known = show(tvb, pinfo, root)
  pinfo.cols.protocol = "CRUST"
  if known.first then
    pinfo.cols.info:set(summary)
    pinfo.cols.info:fence()
  else
    pinfo.cols.info:append(", " .. summary)
    pinfo.cols.info:fence()
  end
  return tvb:len()
end

-- What is there of a segment that is cut off in the capture: dissect_tcp_pdus fails where that is a whole frame.
local function dissect_cut(tvb, pinfo, root)
  local at = 0
  while at < tvb:len() do
    local size = math.min(size_of_next(tvb, pinfo, at), tvb:len() - at)
    dissect_next(tvb(at, size):tvb(), pinfo, root)
    at = at + size
  end
end

-- On a port of the preferences anything may be spoken: it is ours once something that fits has come.
local function is_ours(tvb, pinfo)
  if pinfo.visited then
    return crust.decided(pinfo.number)
  end
  local conversation = crust.conversation_of(pinfo)
  local there = tvb:len()
  conversation.ours = conversation.ours
    or has_magic(tvb, 0)
    or there >= crust.HEADER_SIZE and crust.frame_size(tvb(0, 1):uint(), tvb(1, 3):le_uint())
  return crust.decided(pinfo.number, conversation.ours)
end

local function may_become_ours(tvb)
  local there = tvb:len()
  return there < MAGIC_BEGIN and there == tvb:reported_len() and tvb():raw() == MAGIC:sub(1, there)
end

local function dissect_stream(tvb, pinfo, root)
  if not is_ours(tvb, pinfo) then
    if not may_become_ours(tvb) then
      return 0
    end
    pinfo.desegment_len, pinfo.desegment_offset = DESEGMENT_ONE_MORE_SEGMENT, 0
    return tvb:len()
  end
  if tvb:len() < tvb:reported_len() then
    dissect_cut(tvb, pinfo, root)
  else
    dissect_tcp_pdus(tvb, root, crust.HEADER_SIZE, size_of_next, dissect_next)
  end
  return tvb:len()
end

function proto.dissector(tvb, pinfo, root)
  return dissect_stream(tvb, pinfo, root)
end

proto:register_heuristic("tcp", function(tvb, pinfo, root)
  local there = math.min(tvb:len(), #MAGIC)
  if there < SURE or tvb(0, there):raw() ~= MAGIC:sub(1, there) then
    return false
  end
  crust.conversation_of(pinfo).ours = true
  crust.decided(pinfo.number, true)
  pinfo.conversation = proto
  dissect_stream(tvb, pinfo, root) -- not by way of proto: a dissector of a dissector could not ask for more segments
  return true
end)
