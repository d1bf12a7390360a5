-- Control frames: their content, which answer belongs to which question, and the tracer's hello:
--
--     magic 16 bytes: "CRUST TRACER" CR LF SUB NUL
--     HELLO 0x70   control: who I am, the first frame of each direction
--                  {"version": number, "network": 16 digits, "peer": 64 digits, "session": 16 digits,
--                   "capabilities": [names], "agent": text}
--     READY 0x71   control: {"version": number, "serial": number, "alone": true}   the initiator's second frame

local f, e = crust.f, crust.e

local function member_of(body, members, key)
  local member = members[key]
  return member, member and body(member.from - 1, member.stop - member.from)
end

local function wrong(tree, key)
  tree:add_proto_expert_info(e.malformed, string.format("%q is missing, or not what it has to be", key))
end

local function add_text(tree, field, body, members, key, wanted)
  local member, range = member_of(body, members, key)
  if member and member.kind == "text" and (not wanted or member.value:find(wanted)) then
    tree:add(field, range, member.value)
    return member.value
  elseif member and member.kind ~= "null" or wanted then
    wrong(tree, key)
  end
end

-- A number from 0 to 2^63 - 1; as text, because Lua's numbers were not always that long.
local function is_number(member)
  local text = member and member.kind == "integer" and member.value
  return text and not text:find("^-") and (#text < 19 or #text == 19 and text <= "9223372036854775807") and text or nil
end

local function add_number(tree, field, body, members, key, required)
  local member, range = member_of(body, members, key)
  local text = is_number(member)
  if text then
    tree:add(field, range, field == f.version and tonumber(text) or UInt64.new(text))
  elseif member or required then
    wrong(tree, key)
  end
  return text
end

local function add_flag(tree, field, body, members, key)
  local member, range = member_of(body, members, key)
  if member and member.kind == "bool" then
    tree:add(field, range, member.value)
    return member.value
  elseif member then
    wrong(tree, key)
  end
end

local function add_list(tree, field, body, members, key)
  local member = members[key]
  if not member then
    return
  elseif member.kind ~= "list" then
    wrong(tree, key)
    return
  end
  for _, item in ipairs(member.value) do
    if item.kind == "text" then
      tree:add(field, body(item.from - 1, item.stop - item.from), item.value)
    else
      wrong(tree, key)
    end
  end
  return #member.value
end

-- --- questions and answers -----------------------------------------------------------------------------------------------

local function link_answer(tree, known, asked_field, noun)
  if known.asked then
    tree:add(asked_field, known.asked.packet):set_generated()
    tree:add(f.round_trip, NSTime.new(math.floor(known.delay), math.floor((known.delay % 1) * 1e9 + 0.5) % 1000000000)):set_generated()
  else
    tree:add_proto_expert_info(e.unanswered, "no " .. noun .. " with this number was captured before")
  end
end

local function link_question(tree, known, field)
  if known.answered_in then
    tree:add(field, known.answered_in):set_generated()
  end
end

local function show_ping(body, tree, members, known)
  local number = add_number(tree, f.t, body, members, "t", true)
  link_question(tree, known, f.pong_in)
  return "PING t=" .. (number or "?")
end

local function show_pong(body, tree, members, known)
  local number = add_number(tree, f.t, body, members, "t", true)
  link_answer(tree, known, f.ping_in, "PING")
  return "PONG t=" .. (number or "?")
end

local function show_choose(body, tree, members, known)
  local number = add_number(tree, f.serial, body, members, "serial", true)
  link_question(tree, known, f.chosen_in)
  return "CHOOSE serial=" .. (number or "?")
end

local function show_chosen(body, tree, members, known)
  local number = add_number(tree, f.serial, body, members, "serial", true)
  link_answer(tree, known, f.choose_in, "CHOOSE")
  return "CHOSEN serial=" .. (number or "?")
end

-- --- the others ------------------------------------------------------------------------------------------------------------

local function show_bye(body, tree, members)
  local reason = add_text(tree, f.reason, body, members, "reason")
  local text = add_text(tree, f.bye_text, body, members, "text")
  tree:add_proto_expert_info(e.goodbye)
  return "BYE " .. (reason or "?") .. (text and ": " .. text or "")
end

local function show_hello(body, tree, members)
  local version = add_number(tree, f.version, body, members, "version", true)
  add_text(tree, f.network, body, members, "network", "^" .. ("[0-9a-f]"):rep(16) .. "$")
  if version ~= "1" then
    return "HELLO of version " .. (version or "?")
  end
  local peer = add_text(tree, f.peer, body, members, "peer", "^" .. ("[0-9a-f]"):rep(64) .. "$")
  add_text(tree, f.session, body, members, "session", "^" .. ("[0-9a-f]"):rep(16) .. "$")
  add_list(tree, f.capabilities, body, members, "capabilities")
  local agent = add_text(tree, f.agent, body, members, "agent")
  tree:add_proto_expert_info(e.unproven)
  return "HELLO, says it is " .. (peer or "?"):sub(1, 8) .. (agent and " (" .. agent .. ")" or "")
end

local function show_ready(body, tree, members)
  add_number(tree, f.version, body, members, "version", true)
  local serial = add_number(tree, f.serial, body, members, "serial")
  local alone = add_flag(tree, f.alone, body, members, "alone")
  return "READY serial=" .. (serial or "0") .. (alone and ", alone" or "")
end

-- Gossip: which of the three steps it is shows in its keys.
local function show_contacts(body, tree, members)
  local number = add_number(tree, f.exchange, body, members, "x", true)
  local step, more
  if members.sums then
    step, more = "Sums", ""
    add_text(tree, f.sums, body, members, "sums")
  elseif members.have then
    step, more = "Have", ""
    add_text(tree, f.buckets, body, members, "in")
    add_text(tree, f.have, body, members, "have")
    if add_flag(tree, f.full, body, members, "full") then
      more = ", wants no more nodes"
    end
  elseif members.records then
    step = "Give"
    more = string.format(", %d records", add_list(tree, f.record, body, members, "records") or 0)
    add_text(tree, f.want, body, members, "want")
  else
    wrong(tree, "sums, have or records")
    return "CONTACTS of an unknown kind"
  end
  tree:add(f.step, step):set_generated()
  return string.format("CONTACTS %s x=%s%s", step, number or "?", more)
end

local SHOW = {
  [0x10] = show_ping,
  [0x11] = show_pong,
  [0x12] = show_choose,
  [0x13] = show_chosen,
  [0x14] = show_bye,
  [0x15] = show_contacts,
  [0x70] = show_hello,
  [0x71] = show_ready,
}

-- For the part that follows.
crust.show_content = SHOW
crust.add_number, crust.add_text, crust.add_list, crust.wrong = add_number, add_text, add_list, wrong

local function read(body)
  if body:len() == 0 then
    return nil, "an empty body", 1
  end
  return crust.read_object(body():raw())
end

-- A PING or CHOOSE is remembered by its direction, and found by its answer, which comes in the other one.
local QUESTIONS = { [0x10] = { "pings", "t" }, [0x12] = { "choices" } }
local ANSWERS = { [0x11] = { "pings", "t" }, [0x13] = { "choices" } }

local function number_of(members, key)
  return key and (is_number(members[key]) or "?") or "only one"
end

-- What a control frame means for those that follow; the first time that it is seen.
function crust.learn_control(own, other, known, kind, body, pinfo)
  local question, answer = QUESTIONS[kind], ANSWERS[kind]
  if not question and not answer then
    return
  end
  local members = read(body)
  if not members then
    return
  end
  if question then
    known.packet, known.at = pinfo.number, tonumber(pinfo.rel_ts)
    own[question[1]][number_of(members, question[2])] = known
  else
    local asked = other and other[answer[1]][number_of(members, answer[2])]
    if asked then
      asked.answered_in = pinfo.number
      known.asked, known.delay = asked, tonumber(pinfo.rel_ts) - asked.at
      other[answer[1]][number_of(members, answer[2])] = nil
    end
  end
end

function crust.show_control(kind, body, tree, pinfo, known)
  local name = crust.frame_name(kind)
  if body:len() < body:reported_len() then
    return name
  end
  local members, what, at = read(body)
  if not members then
    tree:add_proto_expert_info(e.malformed, string.format("not the JSON of a control frame: %s, at byte %d", what, at - 1))
    return name .. " (malformed)"
  end
  tree:add(f.json, body(), body():raw())
  if not SHOW[kind] then
    tree:add_proto_expert_info(e.unknown)
    return name
  end
  return SHOW[kind](body, tree, members, known)
end
