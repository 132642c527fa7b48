-- A sound that SoundCTM makes, put at the edit cursor of REAPER, on the selected track.
--
-- Start `soundctm serve`; in REAPER: Actions > Show action list > New action > Load ReaScript, and choose this file.
-- It asks for a caption, a length and a seed, calls the service with curl, and keeps the wav in the project's folder.

local SERVICE = "http://127.0.0.1:8765" -- where `soundctm serve` listens
local LONGEST = 300 -- seconds to wait for a sound

local function as_json(text)
  local escaped = text:gsub('[%c"\\]', function(c)
    return string.format("\\u%04x", c:byte())
  end)
  return '"' .. escaped .. '"'
end

local function say(text)
  reaper.ShowMessageBox(text, "SoundCTM", 0)
end

local function content_of(path)
  local file = io.open(path, "rb")
  if not file then
    return ""
  end
  local content = file:read("a")
  file:close()
  return content
end

-- A name in the project's folder that nothing has yet.
local function free_name(ending)
  local folder, number = reaper.GetProjectPath(""), 0
  repeat
    number = number + 1
    local name = string.format("%s/soundctm_%s_%d%s", folder, os.date("%Y%m%d_%H%M%S"), number, ending)
    if not reaper.file_exists(name) then
      return name
    end
  until false
end

-- The body of the request, or nothing and what is wrong.
local function body_of(caption, seconds, seed)
  local parts = { '"prompt": ' .. as_json(caption) }
  for name, value in pairs({ seconds = seconds, seed = seed }) do
    if value ~= "" then
      if not tonumber(value) then
        return nil, name .. " is " .. value .. "; it must be a number"
      end
      parts[#parts + 1] = string.format('"%s": %s', name, value)
    end
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function main()
  local given, answers = reaper.GetUserInputs(
    "SoundCTM", 3, "Caption,Seconds (empty: the model's),Seed (empty: any),extrawidth=240,separator=\n", "\n\n"
  )
  if not given then
    return
  end
  local caption, seconds, seed = answers:match("^(.-)\n(.-)\n(.-)$")
  local body, wrong = body_of(caption, seconds, seed)
  if not body then
    return say(wrong)
  end
  local request, wav = free_name(".json"), free_name(".wav")
  local file = io.open(request, "wb")
  if not file then
    return say(request .. " cannot be written")
  end
  file:write(body)
  file:close()
  -- The caption is in the file, so no shell and no option sees it.
  local command = string.format(
    'curl -sS --max-time %d -H "Content-Type: application/json" --data-binary "@%s" -o "%s" -w "%%{http_code}" %s/v1/generate',
    LONGEST, request, wav, SERVICE
  )
  local output = reaper.ExecProcess(command, (LONGEST + 10) * 1000) or ""
  os.remove(request)
  if output:match("(%d+)%s*$") ~= "200" then
    local said = content_of(wav):match('"error": ?"(.-)"[,}]')
    os.remove(wav)
    return say(said or ("The service at " .. SERVICE .. " does not answer; start it with: soundctm serve\n\n" .. output))
  end
  reaper.Undo_BeginBlock()
  reaper.InsertMedia(wav, 0) -- 0: on the selected track, at the edit cursor
  reaper.Undo_EndBlock("SoundCTM: " .. caption, -1)
end

main()
