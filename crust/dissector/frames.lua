-- The frames: one function for each type. The layouts are those of crust/transport/framing.py and docs/protocol.md:
--
--     byte 0     1..3                  4 ..
--     +------+------------------+---------------------+
--     | type | length u24 LE    | body: length bytes  |
--     +------+------------------+---------------------+
--
--     MESSAGES 0x01   count u16 LE | count x length u16 LE | the messages, one after the other
--     MESSAGE  0x02   one message, whole, at most 65,536 bytes
--     FIRST    0x03   total u32 LE | the first 65,536 bytes of a larger message
--     NEXT     0x04   the next 65,536 bytes of it, or the last 1..65,536
--     CARRIED  0x05   channel u32 LE | at most 16,384 bytes of a relayed connection; none: the end of this direction
--     CREDIT   0x06   channel u32 LE | count u32 LE           the sender of the channel may send so much more
--     PING     0x10   control: {"t": number}
--     PONG     0x11   control: {"t": the number of the PING}
--     CHOOSE   0x12   control: {"serial": number}          the peer with the greater id keeps this connection
--     CHOSEN   0x13   control: {"serial": number}          the other one's answer
--     BYE      0x14   control: {"reason": word, "text": for people}   the last frame of its direction
--     CONTACTS 0x15   control: gossip, see crust.discovery.gossip_messages
--     ADDRESS  0x16   control: where the other is seen, and whether it can be reached there, see docs/nat.md
--     PUNCH    0x17   control: two peers agree on a meeting, see crust.reach.letters
--     RELAY    0x18   control: a relayed connection begins, or is over, see crust.transport.relay.notes

local f, e = crust.f, crust.e

local NAMES = {
  [0x01] = "MESSAGES",
  [0x02] = "MESSAGE",
  [0x03] = "FIRST",
  [0x04] = "NEXT",
  [0x05] = "CARRIED",
  [0x06] = "CREDIT",
  [0x10] = "PING",
  [0x11] = "PONG",
  [0x12] = "CHOOSE",
  [0x13] = "CHOSEN",
  [0x14] = "BYE",
  [0x15] = "CONTACTS",
  [0x16] = "ADDRESS",
  [0x17] = "PUNCH",
  [0x18] = "RELAY",
  [0x70] = "HELLO",
  [0x71] = "READY",
}
local FIRST_CONTROL = 0x10
local LAST_CONTROL = 0x7F
local HEADER_SIZE = 4
local FRAGMENT_SIZE = 65536
local MAX_BATCH = 65536
local MAX_CONTROL = 4096
local MAX_FRAME = 65544

crust.HEADER_SIZE = HEADER_SIZE

function crust.frame_name(kind)
  return NAMES[kind] or string.format("control 0x%02x", kind)
end

-- Whether a frame may begin so, and how long it is with its header.
function crust.frame_size(kind, length)
  local control = kind >= FIRST_CONTROL and kind <= LAST_CONTROL
  local most = control and MAX_CONTROL or MAX_FRAME - HEADER_SIZE
  return (control or NAMES[kind] ~= nil) and length <= most, HEADER_SIZE + length
end

local malformed = crust.malformed

-- --- messages ----------------------------------------------------------------------------------------------------------

local function add_message(tree, range, number)
  local item = tree:add(f.message, range)
  item:add(f.number, number):set_generated()
  item:add(f.size, range:len()):set_generated()
  local text = range:len() <= 4096 and crust.text_of(range)
  if text then
    item:add(f.text, range, text):set_generated()
    item:append_text(" " .. crust.label_of(text))
  end
end

local function add_any_message(tree, body, at, size, number)
  if size > 0 then
    add_message(tree, body(at, size), number)
  else
    local item = tree:add(string.format("Message %d, of no bytes", number))
    item:add(f.number, number):set_generated()
    item:add(f.size, 0):set_generated()
  end
end

-- The lengths of a MESSAGES frame, as far as they are there, and whether they add up.
local function lengths_of(body)
  if body:len() < 2 then
    return {}, 0, false
  end
  local count = body(0, 2):le_uint()
  local lengths, sum = {}, 0
  for number = 1, count do
    if 2 * number + 2 > body:len() then
      return lengths, count, false
    end
    lengths[number] = body(2 * number, 2):le_uint()
    sum = sum + lengths[number]
  end
  return lengths, count, count > 0 and 2 + 2 * count + sum == body:reported_len()
end

local function on_messages(body, tree, pinfo, known)
  local lengths, count, fits = lengths_of(body)
  if body:len() >= 2 then
    tree:add_le(f.count, body(0, 2))
  end
  local cut = body:len() < body:reported_len()
  if not fits and not cut then
    malformed(tree, "the count and the lengths do not fit the body")
  elseif body:reported_len() > MAX_BATCH then
    malformed(tree, "a body of more than " .. MAX_BATCH .. " bytes")
  end
  local at = 2 + 2 * count
  for index, size in ipairs(lengths) do
    if index > crust.proto.prefs.most_messages then
      tree:add(string.format("%d further messages (see the preference most_messages)", count - index + 1))
      break
    end
    tree:add_le(f.lengths, body(2 * index, 2))
    if at + size > body:len() then
      break
    end
    add_any_message(tree, body, at, size, known.number + index - 1)
    at = at + size
  end
  return string.format("MESSAGES %d (%d bytes)", count, math.max(0, body:reported_len() - 2 - 2 * count))
end

local function on_message(body, tree, pinfo, known)
  if body:reported_len() > FRAGMENT_SIZE then
    malformed(tree, "a message of more than " .. FRAGMENT_SIZE .. " bytes in one frame")
  end
  if body:reported_len() == 0 then
    add_any_message(tree, body, 0, 0, known.number)
  elseif body:len() > 0 then
    add_message(tree, body(), known.number)
  end
  return string.format("MESSAGE (%d bytes)", body:reported_len())
end

-- --- large messages ----------------------------------------------------------------------------------------------------

local function begin_large(own, known, body, pinfo)
  known.unfinished = own.large ~= nil
  if body:len() < 4 then
    return
  end
  own.messages = own.messages + 1
  own.large = { number = own.messages, total = body(0, 4):le_uint(), have = 0, pieces = {}, frames = {} }
end

local function add_piece(own, known, piece, size, pinfo)
  local large = own.large
  known.large = large
  if not large then
    return
  end
  known.index, known.offset = #large.frames + 1, large.have
  large.frames[known.index] = pinfo.number
  large.cut = large.cut or not piece or piece:len() < size
  large.pieces[known.index] = piece and piece:bytes() or nil
  large.have = large.have + size
  if large.have >= large.total then
    own.large = nil
    large.complete_in = pinfo.number
    known.completes = true
    if not large.cut then
      local whole = ByteArray.new()
      for _, bytes in ipairs(large.pieces) do
        whole:append(bytes)
      end
      large.whole = whole
    end
    large.pieces = nil
  end
end

local function show_piece(body, from, tree, pinfo, known)
  local large = known.large
  if body:len() > from then
    tree:add(f.piece, body(from))
  end
  if not large then
    tree:add_proto_expert_info(e.unfinished, "a piece of a message whose beginning is not there")
    return ""
  end
  tree:add(f.fragment_number, known.index):set_generated()
  tree:add(f.fragment_offset, known.offset):set_generated()
  if large.have > large.total then
    malformed(tree, "the pieces have more bytes than the message")
  end
  if not known.completes then
    if large.complete_in then
      tree:add(f.reassembled_in, large.complete_in):set_generated()
    end
  elseif large.whole and large.have == large.total then
    local whole = large.whole:tvb("Reassembled message")
    local item = tree:add(crust.proto, whole(), string.format("Reassembled message of %d bytes", large.total))
    add_message(item, whole(), large.number)
    item:add(f.reassembled_length, large.total):set_generated()
    item:add(f.fragment_count, #large.frames):set_generated()
    for _, number in ipairs(large.frames) do
      item:add(f.fragments, number):set_generated()
    end
  elseif large.cut then
    tree:add_proto_expert_info(e.cut, "pieces are cut off in the capture: the message cannot be put together")
  end
  return string.format(" %d of %d bytes", math.min(known.offset + body:reported_len() - from, large.total), large.total)
end

local function on_first(body, tree, pinfo, known)
  if body:len() >= 4 then
    local total = body(0, 4):le_uint()
    tree:add_le(f.total, body(0, 4))
    if total <= FRAGMENT_SIZE then
      malformed(tree, "a message that would fit into one frame comes in pieces")
    end
  end
  if body:reported_len() ~= 4 + FRAGMENT_SIZE then
    malformed(tree, "the first piece has to have " .. FRAGMENT_SIZE .. " bytes")
  end
  if known.unfinished then
    tree:add_proto_expert_info(e.unfinished, "the message before this one was not finished")
  end
  return "FIRST" .. show_piece(body, 4, tree, pinfo, known)
end

local function on_next(body, tree, pinfo, known)
  local large = known.large
  if large and body:reported_len() ~= math.min(FRAGMENT_SIZE, large.total - known.offset) then
    malformed(tree, string.format("a piece of %d bytes, where %d are due", body:reported_len(), math.min(FRAGMENT_SIZE, large.total - known.offset)))
  end
  return "NEXT" .. show_piece(body, 0, tree, pinfo, known)
end

-- --- what has to be remembered -------------------------------------------------------------------------------------------

local LEARN = {
  [0x01] = function(own, known, body)
    known.number = own.messages + 1
    own.messages = own.messages + (body:len() >= 2 and body(0, 2):le_uint() or 0)
  end,
  [0x02] = function(own, known)
    own.messages = own.messages + 1
    known.number = own.messages
  end,
  [0x03] = function(own, known, body, pinfo)
    begin_large(own, known, body, pinfo)
    add_piece(own, known, body:len() > 4 and body(4) or nil, body:reported_len() - 4, pinfo)
  end,
  [0x04] = function(own, known, body, pinfo)
    add_piece(own, known, body:len() > 0 and body() or nil, body:reported_len(), pinfo)
  end,
}

local SHOW = { [0x01] = on_messages, [0x02] = on_message, [0x03] = on_first, [0x04] = on_next }

-- Dissect one whole frame; gives its summary.
function crust.dissect_frame(tvb, pinfo, root)
  local kind, length = tvb(0, 1):uint(), tvb(1, 3):le_uint()
  local name = crust.frame_name(kind)
  local tree = root:add(crust.proto, tvb(), "Crust " .. name)
  tree:add(f.type, tvb(0, 1)):append_text(" (" .. name .. ")")
  tree:add_le(f.length, tvb(1, 3))
  local control = kind >= FIRST_CONTROL and kind <= LAST_CONTROL
  if tvb:len() < HEADER_SIZE + length then
    tree:add_proto_expert_info(e.cut, "this frame is cut off in the capture")
  end
  local body = crust.part(tvb, HEADER_SIZE, length)
  local known = crust.remembered(tvb, pinfo, function(known)
    local _, own, other = crust.conversation_of(pinfo)
    own.frames = own.frames + 1
    if control then
      crust.learn_control(own, other, known, kind, body, pinfo)
    elseif LEARN[kind] then
      LEARN[kind](own, known, body, pinfo)
    end
    crust.count(name, HEADER_SIZE + length, own.name)
  end)
  local summary
  if control then
    summary = crust.show_control(kind, body, tree, pinfo, known)
  else
    summary = (SHOW[kind] or crust.show_relayed[kind])(body, tree, pinfo, known)
  end
  tree:append_text(summary:sub(#name + 1))
  return summary, known
end
