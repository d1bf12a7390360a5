-- Frames by which nodes reach each other: where somebody is seen, meetings, relayed connections. What the keys mean is
-- written in docs/nat.md.

local f = crust.f
local number, text, list, flawed = crust.add_number, crust.add_text, crust.add_list, crust.wrong

local function short(id)
  return (id or "?"):sub(1, 8)
end

local PEER = "^" .. ("[0-9a-f]"):rep(64) .. "$"

local function show_address(body, tree, members)
  if members.seen then
    return "ADDRESS, sees the other at " .. (text(tree, f.seen, body, members, "seen", "") or "?")
  elseif members.ask then
    number(tree, f.ask, body, members, "ask", true)
    return string.format("ADDRESS, to be tried at %d endpoints", list(tree, f.at, body, members, "at") or 0)
  elseif members.due then
    number(tree, f.ask, body, members, "due", true)
    return "ADDRESS, asks for bytes=" .. (number(tree, f.bill, body, members, "bytes", true) or "?")
  elseif members.paid then
    number(tree, f.ask, body, members, "paid", true)
    return "ADDRESS, padding"
  elseif members.told then
    number(tree, f.ask, body, members, "told", true)
    return string.format("ADDRESS, %d results", list(tree, f.result, body, members, "results") or 0)
  end
  flawed(tree, "seen, ask, due, paid or told")
  return "ADDRESS of an unknown kind"
end

local function add_way(body, tree, members)
  if members.to then
    return " to " .. short(text(tree, f.to, body, members, "to", PEER))
  end
  return " from " .. short(text(tree, f.from, body, members, "from", PEER))
end

local function show_punch(body, tree, members)
  local way = add_way(body, tree, members)
  list(tree, f.seen_host, body, members, "seen")
  local step = text(tree, f.meeting_step, body, members, "step", "^%l+$")
  local meeting = number(tree, f.meeting, body, members, "meeting", true)
  text(tree, f.info, body, members, "info")
  local took = members.took
  if took and (took.kind == "number" or took.kind == "integer") then
    tree:add(f.took, body(took.from - 1, took.stop - took.from), tonumber(took.value))
  elseif took then
    flawed(tree, "took")
  end
  local reason = text(tree, f.punch_reason, body, members, "reason")
  return string.format("PUNCH %s%s, meeting=%s%s", step or "?", way, meeting or "?", reason and ": " .. reason or "")
end

local function show_relay(body, tree, members)
  if members.open then
    local channel = number(tree, f.channel, body, members, "open", true)
    local way = add_way(body, tree, members)
    number(tree, f.credit, body, members, "credit", true)
    return "RELAY open channel=" .. (channel or "?") .. way
  elseif members.accepted then
    local channel = number(tree, f.channel, body, members, "accepted", true)
    number(tree, f.credit, body, members, "credit", true)
    return "RELAY accepted channel=" .. (channel or "?")
  elseif members.refused then
    local channel = number(tree, f.channel, body, members, "refused", true)
    local reason = text(tree, f.relay_reason, body, members, "reason")
    return "RELAY refused channel=" .. (channel or "?") .. ": " .. (reason or "?")
  elseif members.abort then
    local channel = number(tree, f.channel, body, members, "abort", true)
    local why = text(tree, f.relay_text, body, members, "text")
    return "RELAY abort channel=" .. (channel or "?") .. (why and why ~= "" and ": " .. why or "")
  end
  flawed(tree, "open, accepted, refused or abort")
  return "RELAY of an unknown kind"
end

crust.show_content[0x16] = show_address
crust.show_content[0x17] = show_punch
crust.show_content[0x18] = show_relay

-- --- what is relayed ---------------------------------------------------------------------------------------------------

local MAX_CARRIED = 16384

local function add_channel(body, tree)
  if body:len() < 4 then
    if body:reported_len() < 4 then
      crust.malformed(tree, "a channel is missing")
    end
    return "?"
  end
  tree:add(f.channel, body(0, 4), UInt64(body(0, 4):le_uint()))
  return body(0, 4):le_uint()
end

crust.show_relayed = {
  [0x05] = function(body, tree)
    local channel = add_channel(body, tree)
    local size = math.max(body:reported_len() - 4, 0)
    if size > MAX_CARRIED then
      crust.malformed(tree, "more than " .. MAX_CARRIED .. " bytes")
    end
    if body:len() > 4 then
      tree:add(f.carried, body(4))
    end
    return string.format("CARRIED channel=%s %s", channel, size > 0 and "(" .. size .. " bytes)" or "ends")
  end,
  [0x06] = function(body, tree)
    local channel, credit = add_channel(body, tree), "?"
    if body:len() >= 8 then
      credit = body(4, 4):le_uint()
      tree:add(f.credit, body(4, 4), UInt64(credit))
    end
    if body:reported_len() ~= 8 then
      crust.malformed(tree, "a credit has 8 bytes")
    end
    return string.format("CREDIT channel=%s, %s bytes more", channel, credit)
  end,
}
