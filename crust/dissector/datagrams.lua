-- UDP: the beacon, and what belongs to other dissectors: STUN, and uTP, which Wireshark knows as bt-utp.
--
--     datagram  =  nonce    24 random bytes
--               || sealed   96 bytes: XChaCha20-Poly1305 of the body, 80 bytes, with a tag of 16
--     body      =  version  1    1; what follows is that of this version
--               || kind     1    see `Kind`
--               || tcp      2    big-endian; the port that the sender listens on, 0 for none
--               || utp      2    the same, on UDP
--               || guid     16   which beacon this is, random; a node finds its own datagrams by it
--               || peer id  32
--               || token    8    random; who answers sends it back
--               || echo     8    the token that is answered, else zeros
--               || spare    10   zeros; ignored

local f, e = crust.f, crust.e
local proto = crust.proto

local NONCE_SIZE = 24
local BODY_SIZE = 80
local TAG_SIZE = 16
local DATAGRAM_SIZE = NONCE_SIZE + BODY_SIZE + TAG_SIZE
local KINDS = { "ASK", "CHECK", "ANNOUNCE", "ANSWER", "EXCHANGE" }
local STUN_COOKIE = 0x2112A442
local ALL_UDP = Proto("crust_udp", "Crust on UDP")
local BEACON = Proto("crust_beacon", "Crust beacon")

local BODY_FIELDS = {
  { f.beacon_version, 0, 1 },
  { f.beacon_kind, 1, 1 },
  { f.beacon_tcp, 2, 2 },
  { f.beacon_utp, 4, 2 },
  { f.beacon_guid, 6, 16 },
  { f.beacon_peer, 22, 32 },
  { f.beacon_token, 54, 8 },
  { f.beacon_echo, 62, 8 },
}
local SPARE_FROM = 70

local function open(tvb)
  local digits = proto.prefs.beacon_key
  if #digits ~= 64 or digits:find("%X") then
    return nil
  end
  local key = digits:gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end)
  local body = crust.xchacha20(key, tvb(0, NONCE_SIZE):raw(), tvb(NONCE_SIZE, BODY_SIZE):raw())
  local fits = body:byte(1) == 1 and KINDS[body:byte(2)] and body:sub(SPARE_FROM + 1) == ("\0"):rep(BODY_SIZE - SPARE_FROM)
  return fits and body or nil
end

local function show_body(text, tree)
  local bytes = ByteArray.new(text, true)
  local body = bytes:tvb("Opened beacon")
  local inside = tree:add(proto, body(), "Inside")
  for _, each in ipairs(BODY_FIELDS) do
    inside:add(each[1], body(each[2], each[3]))
  end
  inside:add_proto_expert_info(e.opened)
  local tcp, utp = body(2, 2):uint(), body(4, 2):uint()
  local listens = (tcp > 0 and " tcp:" .. tcp or "") .. (utp > 0 and " utp:" .. utp or "")
  local peer = body(22, 4):bytes():tohex(true)
  return string.format("Beacon %s from %s%s", KINDS[text:byte(2)], peer, listens)
end

local function show_beacon(tvb, pinfo, root)
  pinfo.cols.protocol = "CRUST"
  local tree = root:add(proto, tvb(), "Crust beacon")
  tree:add(f.nonce, tvb(0, NONCE_SIZE))
  local sealed = tree:add(f.sealed, tvb(NONCE_SIZE, BODY_SIZE))
  tree:add(f.tag, tvb(NONCE_SIZE + BODY_SIZE, TAG_SIZE))
  local body = open(tvb)
  local summary
  if body then
    summary = show_body(body, tree)
  elseif #proto.prefs.beacon_key > 0 then
    summary = "Beacon (sealed; the key of the preferences does not open it)"
    sealed:add_proto_expert_info(e.sealed, "sealed, and not with the key of the preferences")
  else
    summary = "Beacon (sealed)"
    sealed:add_proto_expert_info(e.sealed, "sealed with the key of the network: see the preference beacon_key")
  end
  tree:append_text(summary:sub(7))
  pinfo.cols.info:set(summary)
  return tvb:len()
end

local function is_beacon(tvb)
  return tvb:len() == DATAGRAM_SIZE and tvb:reported_len() == DATAGRAM_SIZE
end

local function is_stun(tvb)
  return tvb:len() >= 20 and tvb(0, 1):uint() < 0x40 and tvb(4, 4):uint() == STUN_COOKIE
end

local function is_utp(tvb)
  local first = tvb:len() >= 20 and tvb(0, 1):uint() or 0
  return first % 16 == 1 and first < 0x50
end

-- Wireshark's dissector of uTP is a heuristic one that is switched off at first, and has a name only in some versions.
local function show_utp(tvb, pinfo, root)
  local named = Dissector.get("bt-utp")
  if named then
    named:call(tvb, pinfo, root)
  elseif not DissectorTable.try_heuristics("udp", tvb, pinfo, root) then
    pinfo.cols.protocol = "CRUST"
    pinfo.cols.info:set("uTP packet (Wireshark's dissector of uTP is off)")
    root:add(ALL_UDP, tvb(), "uTP packet: switch on the heuristic bt_utp_udp (tshark --enable-heuristic bt_utp_udp)")
  end
end

function ALL_UDP.dissector(tvb, pinfo, root)
  if is_stun(tvb) then
    Dissector.get("stun-udp"):call(tvb, pinfo, root)
  elseif is_utp(tvb) then
    show_utp(tvb, pinfo, root)
  elseif is_beacon(tvb) then
    show_beacon(tvb, pinfo, root)
  else
    return 0
  end
  return tvb:len()
end

-- The first byte of a beacon is random, and so like that of a uTP packet now and then: the port decides.
function BEACON.dissector(tvb, pinfo, root)
  return is_beacon(tvb) and show_beacon(tvb, pinfo, root) or ALL_UDP.dissector(tvb, pinfo, root)
end

-- The ports of the preferences: at the start, and whenever one is changed.
local known_ports = {}
local udp_ports = DissectorTable.get("udp.port")
local function take_ports()
  local wanted = {
    { DissectorTable.get("tcp.port"), proto, proto.prefs.tracer_ports },
    { udp_ports, ALL_UDP, proto.prefs.udp_ports },
    { udp_ports, BEACON, proto.prefs.beacon_ports },
  }
  for _, each in ipairs(known_ports) do
    each[1]:remove(each[3], each[2])
  end
  known_ports = {}
  for _, each in ipairs(wanted) do
    local range = tostring(each[3])
    if #range > 0 then
      each[1]:add(range, each[2])
      known_ports[#known_ports + 1] = { each[1], each[2], range }
    end
  end
end
take_ports()
proto.prefs_changed = take_ports
